"""The engines `keras` and `keras-exact`: Keras on TensorFlow."""

from collections.abc import Collection, Sequence
from pathlib import Path

from fornada.tensors import InputTensor, OutputTensor
from model_store.engines import golden, keras_file, keras_predict, keras_setup
from model_store.engines.artifact.work import estimate
from model_store.engines.interface import EngineModel, Predict

#: One call is transferred there, one computed, and one fetched.
_STREAMS_OF_A_GPU = 3
#: Once TensorFlow may hold this much for dropped models, it is made to forget them. The models
#: still loaded are then prepared again, which takes 0.4 s for a MobileNet.
_MAX_KEPT_BYTES = 64 * 2**20


class KerasEngine:
    """Keras on TensorFlow, in float32, or in float64 if `exact`.

    `model.predict` costs about 50 ms a call for its iterator and callbacks; a `tf.function` with a
    fixed signature costs half a millisecond and is traced once. Each call runs on one core
    (ADR 0011), in the thread that makes it (ADR 0013).

    Args:
        threads: Calls to compute at a time. `None`: one, on as many cores as TensorFlow takes.
        exact: Compute in float64.
        constants: Make constants of the weights of small models (ADR 0015), and do at once what
            TensorFlow does with its first model: both pay over many calls.
    """

    framework = "tensorflow"
    tolerance = golden.GOLDEN_TOLERANCE
    #: A call computes in the thread that makes it; an extra one would compete for the cores.
    calls_ahead = 0
    call_bytes = None

    def __init__(self, *, threads: int | None, exact: bool, constants: bool = True) -> None:
        keras_setup.import_keras_to_predict()
        if threads is not None:
            keras_setup.limit_threads(threads)
        self.streams = _STREAMS_OF_A_GPU if keras_setup.set_up_gpus() else threads or 1
        self._exact, self._constants = exact, constants
        self._kept_bytes = 0
        self.name = f"{keras_setup.engine_name()}{' float64' if exact else ''}"
        if constants:
            keras_predict.warm_up()

    def forget(self) -> None:
        """Free what TensorFlow keeps; the next call of each loaded model prepares it again."""
        if self._kept_bytes:
            keras_predict.forget_dropped_models()
            self._kept_bytes = 0

    def load(
        self,
        artifact: Path,
        *,
        where: str,
        takes: Sequence[InputTensor],
        gives: Sequence[OutputTensor],
        allowed_objects: Collection[str],
    ) -> EngineModel:
        """Load a model; it is compiled to one `tf.function` per size."""
        model = keras_file.load_model(
            artifact,
            where=where,
            allowed_objects=allowed_objects,
            dtype="float64" if self._exact else None,
            backend="tensorflow",
        )

        def compile_for(tile_items: int) -> Predict:
            self._make_room(keras_predict.kept_bytes(model))
            return keras_predict.compile_predict(
                model,
                tile_items=tile_items,
                takes=takes,
                gives=gives,
                exact=self._exact,
                constants=self._constants,
            )

        return EngineModel(
            compile=compile_for,
            work=estimate(model, takes=takes),
        )

    def _make_room(self, more_bytes: int) -> None:
        if self._kept_bytes + more_bytes > _MAX_KEPT_BYTES:
            self.forget()
        self._kept_bytes += more_bytes
