"""The engines `jax` and `jax-bf16`."""

from collections.abc import Collection, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from fornada.errors import ModelRefusedError
from fornada.tensors import InputTensor, OutputTensor
from model_store.engines.artifact.work import estimate
from model_store.engines.golden import Precision, tolerance_of
from model_store.engines.interface import EngineModel
from model_store.engines.jax.devices import (
    call_bytes_of,
    device_here,
    platform_of,
    set_up_to_predict,
)
from model_store.engines.jax.feeding import check_device, part_items_of
from model_store.engines.jax.predict import compile_predict
from model_store.engines.keras_file import load_model

#: Calls of a device: one is transferred there, one computed, and one fetched; a fourth is at hand.
_STREAMS_OF_A_DEVICE, _AHEAD_ON_A_DEVICE = 3, 1


class JaxEngine:
    """Keras on JAX; it runs the same artifacts as `KerasEngine`.

    On the CPU there is a call on each core, in the thread that makes it. A GPU or TPU computes one
    call while others are transferred there and back.

    Args:
        threads: Calls to compute at a time on the CPU.
        precision: `float32`, without the shorter mantissas that GPUs and TPUs multiply with by
            default; or `bfloat16`, with weights and sums in float32.
    """

    framework = "jax"

    def __init__(self, *, threads: int, precision: Precision) -> None:
        self._jax = set_up_to_predict()
        self._precision = precision
        here = device_here()
        self._device = None if platform_of(here) == "cpu" else here
        self.streams, self.calls_ahead = threads, 0
        self.call_bytes: int | None = None
        kind = "cpu"
        if self._device is not None:
            self.streams, self.calls_ahead = _STREAMS_OF_A_DEVICE, _AHEAD_ON_A_DEVICE
            self.call_bytes = call_bytes_of(here)
            # The low bits of outputs depend on it.
            kind = f"{platform_of(here)} {here.device_kind}"
        self.name = f"jax {version('jax')} {precision} {kind}"
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
        try:
            model = load_model(
                artifact,
                where=where,
                allowed_objects=allowed_objects,
                dtype="bfloat16" if self._precision == "bfloat16" else None,
                backend="jax",
            )
        except ModelRefusedError:
            if self._device is not None:
                check_device(self._device)
            raise
        is_fed = self._device is not None and not any(tensor.is_open for tensor in takes)
        part_items = partial(part_items_of, takes=takes) if is_fed else None
        return EngineModel(
            compile=lambda tile_items: compile_predict(
                model,
                tile_items=tile_items,
                takes=takes,
                gives=gives,
                part_items=None if part_items is None else part_items(tile_items),
            ),
            work=estimate(model, takes=takes),
            part_items=part_items,
        )
