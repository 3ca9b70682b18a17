"""The engines that a worker predicts with, behind one Protocol."""

from collections.abc import Collection

from fornada.imports import imports_blocked
from model_store.engines import golden, keras_file, keras_predict, keras_setup
from model_store.engines.interface import Compile, Predict
from model_store.manifest import ModelManifest

#: What Keras imports for its drawings and for scikit-learn: a third of its import, and 100 MB.
_KEPT_OUT = ("matplotlib", "scipy", "sklearn")
_STREAMS_OF_A_GPU = 2
#: What TensorFlow keeps of dropped models goes once it may be so much: then those that are still
#: loaded are prepared anew, which takes 0.4 s of a MobileNet.
_MOST_KEPT_BYTES = 64 * 2**20


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
        with imports_blocked(_KEPT_OUT):
            keras_setup.limit_threads(threads)
        # One call is fed to a GPU while it computes another.
        self.streams = _STREAMS_OF_A_GPU if keras_setup.set_up_gpus() else threads
        self._exact = exact
        self._kept_bytes = 0
        self.name = f"{keras_setup.engine_name()}{' float64' if exact else ''}"

    def load(
        self, manifest: ModelManifest, artifact: bytes, *, allowed_layers: Collection[str]
    ) -> Compile:
        """The model, to be compiled to one `tf.function` for each size."""
        model = keras_file.load_model(
            artifact,
            where=f"model {manifest}",
            allowed_layers=allowed_layers,
            exact=self._exact,
        )

        def compile_for(tile_items: int) -> Predict:
            self._forget_in_time(keras_predict.kept_bytes(model))
            return keras_predict.compile_predict(
                model,
                tile_items=tile_items,
                item_shape=manifest.item_shape,
                item_dtype=manifest.item_dtype,
                exact=self._exact,
            )

        return compile_for

    def _forget_in_time(self, more_bytes: int) -> None:
        if self._kept_bytes + more_bytes > _MOST_KEPT_BYTES:
            keras_predict.forget_dropped_models()
            self._kept_bytes = 0
        self._kept_bytes += more_bytes
