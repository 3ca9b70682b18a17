"""The engines `jax` and `jax-bf16`."""

from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path

from fornada.errors import ModelRefusedError
from fornada.tensors import InputTensor, OutputTensor
from model_store.engines.artifact.work import estimate
from model_store.engines.golden import Precision, tolerance_of
from model_store.engines.interface import EngineModel
from model_store.engines.jax.devices import device_here, platform_of, set_up_to_predict
from model_store.engines.jax.predict import compile_predict
from model_store.engines.keras_file import load_model

#: Calls in hand while a device computes one: transfers there and back overlap what it computes.
_AHEAD_ON_A_DEVICE = 3


class JaxEngine:
    """Keras on JAX; it runs the same artifacts as `KerasEngine`.

    On the CPU there is a call on each core, in the thread that makes it. A GPU or TPU computes one
    call while others are transferred.

    Args:
        threads: Calls to compute at a time on the CPU.
        precision: `float32`, without the shorter mantissas that GPUs and TPUs multiply with by
            default; or `bfloat16`, with weights and sums in float32.
    """

    framework = "jax"
    call_bytes: int | None = None

    def __init__(self, *, threads: int, precision: Precision) -> None:
        self._jax = set_up_to_predict()
        self._precision = precision
        platform = platform_of(device_here())
        self.streams = threads if platform == "cpu" else 1
        self.calls_ahead = 0 if platform == "cpu" else _AHEAD_ON_A_DEVICE
        self.name = f"jax {version('jax')} {precision} {platform}"
        self.tolerance = tolerance_of(precision)

    def forget(self) -> None:
        """Free what JAX keeps of traced models; compiled calls go with their models."""
        self._jax.clear_caches()

    def load(
        self,
        artifact: Path,
        *,
        where: str,
        takes: Sequence[InputTensor],
        gives: Sequence[OutputTensor],
        allowed_objects: Collection[str],
    ) -> EngineModel:
        """Load a model; it is compiled to one program per size."""
        text = next((tensor.name for tensor in takes if tensor.dtype == "string"), None)
        if text is not None:
            raise ModelRefusedError(
                f"{where} takes text in its input {text!r}, which JAX cannot compute; predict it "
                "with FORNADA_ENGINE=keras"
            )
        model = load_model(
            artifact,
            where=where,
            allowed_objects=allowed_objects,
            dtype="bfloat16" if self._precision == "bfloat16" else None,
            backend="jax",
        )
        return EngineModel(
            compile=lambda tile_items: compile_predict(
                model, tile_items=tile_items, takes=takes, gives=gives
            ),
            work=estimate(model, takes=takes),
        )
