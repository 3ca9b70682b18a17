"""The engines that a worker predicts with, behind one Protocol."""

from collections.abc import Callable, Collection
from typing import Protocol

from fornada.settings import EngineName
from model_store import golden, keras_codec, openvino_codec
from model_store.golden import Predict
from model_store.kept_out import kept_out
from model_store.manifest import ModelManifest
from worker.requirements import require_engine

#: A loaded model as a function of so many rows.
Compile = Callable[[int], Predict]

#: What Keras imports for its drawings and for scikit-learn: a third of its import, and 100 MB.
_KEPT_OUT = ("matplotlib", "scipy", "sklearn")
_STREAMS_OF_A_GPU = 2
#: What TensorFlow keeps of dropped models goes once it may be so much: then those that are still
#: loaded are prepared anew, which takes 0.4 s of a MobileNet.
_MOST_KEPT_BYTES = 64 * 2**20


class Engine(Protocol):
    """What computes in this process: one for all of its models."""

    @property
    def name(self) -> str:
        """What outcomes say of it, with version and precision: `openvino 2026.4.1 float32`."""

    @property
    def tolerance(self) -> float:
        """How far a golden batch's outputs may be off; times the largest, where that is above 1."""

    @property
    def streams(self) -> int:
        """Calls that shall be computed side by side, each by a thread of its own."""

    @property
    def calls_ahead(self) -> int:
        """Further calls that shall wait in the engine, for a stream to go on with at once."""

    def load(
        self, manifest: ModelManifest, artifact: bytes, *, allowed_layers: Collection[str]
    ) -> Compile:
        """The model, to be compiled for as many rows a call as are asked for.

        Args:
            manifest: Whose model it is.
            artifact: The `.keras` file.
            allowed_layers: Custom layers that it may have, `package.module:ClassName`.

        Raises:
            ModelRefusedError: It is not safe, or the engine cannot run it; also when it is
                compiled.
            LocalDiskError: The temporary folder is full or not writable.
        """


class KerasEngine:
    """Keras on TensorFlow, in float32, or exact in float64; never `model.predict`.

    `model.predict` builds an iterator and callbacks for some 50 ms a call; a `tf.function` with a
    fixed signature costs half a millisecond and is traced once. Each call has one core to itself
    (ADR 0011), in the thread that makes it (ADR 0013).
    """

    tolerance = golden.GOLDEN_TOLERANCE
    #: None: a call computes in the thread that makes it, and one more would want the same cores.
    calls_ahead = 0

    def __init__(self, *, threads: int, exact: bool) -> None:
        with kept_out(_KEPT_OUT):
            keras_codec.limit_threads(threads)
        # One call is fed to a GPU while it computes another.
        self.streams = _STREAMS_OF_A_GPU if keras_codec.set_up_gpus() else threads
        self._exact = exact
        self._kept_bytes = 0
        self.name = f"{keras_codec.engine_name()}{' float64' if exact else ''}"

    def load(
        self, manifest: ModelManifest, artifact: bytes, *, allowed_layers: Collection[str]
    ) -> Compile:
        """The model, to be compiled to one `tf.function` for each size."""
        model = keras_codec.load_model(
            artifact,
            where=f"model {manifest}",
            allowed_layers=allowed_layers,
            exact=self._exact,
        )

        def compile_for(tile_items: int) -> Predict:
            self._forget_in_time(keras_codec.kept_bytes(model))
            return keras_codec.compile_predict(
                model,
                tile_items=tile_items,
                item_shape=manifest.item_shape,
                item_dtype=manifest.item_dtype,
                exact=self._exact,
            )

        return compile_for

    def _forget_in_time(self, more_bytes: int) -> None:
        if self._kept_bytes + more_bytes > _MOST_KEPT_BYTES:
            keras_codec.forget_dropped_models()
            self._kept_bytes = 0
        self._kept_bytes += more_bytes


class OpenVINOEngine:
    """The same artifacts on OpenVINO, on CPUs; without TensorFlow."""

    def __init__(self, *, threads: int, precision: openvino_codec.Precision) -> None:
        openvino_codec.check_precision(precision)
        self.streams = threads
        # A stream goes on with the next call before Python has heard of the last (ADR 0014).
        self.calls_ahead = threads
        self._precision = precision
        self.name = openvino_codec.engine_name(precision)
        self.tolerance = (
            golden.GOLDEN_TOLERANCE if precision == "float32" else openvino_codec.BFLOAT16_TOLERANCE
        )

    def load(
        self, manifest: ModelManifest, artifact: bytes, *, allowed_layers: Collection[str]
    ) -> Compile:
        """The model, to be compiled to one graph for each size."""
        model = openvino_codec.load_model(
            artifact, where=f"model {manifest}", allowed_layers=allowed_layers
        )
        return lambda tile_items: openvino_codec.compile_predict(
            model,
            tile_items=tile_items,
            item_shape=manifest.item_shape,
            item_dtype=manifest.item_dtype,
            streams=self.streams,
            precision=self._precision,
        )


def open_engine(name: EngineName, *, threads: int) -> Engine:
    """Import what FORNADA_ENGINE names, which takes up to seconds; once in a process.

    Args:
        name: The setting.
        threads: Cores that predict may use.

    Raises:
        MissingExtraError: It is not installed.
        ConfigError: This machine or process cannot run it.
        UsageError: TensorFlow has begun to compute in this process.
    """
    require_engine(name)
    match name:
        case "keras":
            return KerasEngine(threads=threads, exact=False)
        case "keras-exact":
            return KerasEngine(threads=threads, exact=True)
        case "openvino":
            return OpenVINOEngine(threads=threads, precision="float32")
        case "openvino-bf16":
            return OpenVINOEngine(threads=threads, precision="bfloat16")
