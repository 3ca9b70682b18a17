"""What a worker needs of an engine, and Keras on TensorFlow behind it."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fornada.arrays import Array, from_npy
from model_store.manifest import ModelManifest
from model_store.store import ModelStore


class Predictor(Protocol):
    """A loaded, checked and warm model."""

    @property
    def engine(self) -> str:
        """What computes, with its version: `tensorflow 2.21.0`."""

    def predict_tile(self, tile: Array) -> NDArray[np.float32]:
        """Item dtype [tile_items, *item_shape] → float32 [tile_items, outputs]."""


#: Builds the predictor of a manifest from the artifact's bytes, for tiles of so many items.
PredictorFactory = Callable[[ModelManifest, bytes, int], Predictor]


class KerasPredictor:
    """A `.keras` model as one compiled function of one fixed shape; never `model.predict`.

    `model.predict` builds an iterator and callbacks for some 50 ms a call; a `tf.function`
    with a fixed signature costs half a millisecond and is traced once.
    """

    def __init__(
        self, manifest: ModelManifest, artifact: bytes, tile_items: int, *, models: ModelStore
    ) -> None:
        from model_store import keras_codec  # noqa: PLC0415 - seconds, and hundreds of MB

        where = f"model {manifest}"
        model = keras_codec.load_model(artifact, where=where)
        self._predict = keras_codec.compile_predict(
            model,
            tile_items=tile_items,
            item_shape=manifest.item_shape,
            item_dtype=manifest.item_dtype,
        )
        self.engine = keras_codec.engine_name()
        golden = manifest.golden
        keras_codec.check_golden(
            self._predict,
            inputs=from_npy(models.fetch(golden.inputs), where=golden.inputs.key),
            outputs=from_npy(models.fetch(golden.outputs), where=golden.outputs.key),
            tile_items=tile_items,
            where=where,
        )

    def predict_tile(self, tile: Array) -> NDArray[np.float32]:
        """Item dtype [tile_items, *item_shape] → float32 [tile_items, outputs]."""
        return self._predict(tile)
