"""One model of the store on the engine: loaded, checked, and warm."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from fornada.formats.npy import from_npy
from model_store.engines.golden import check_golden
from model_store.engines.interface import Compile, Engine
from model_store.engines.work import Work
from model_store.manifest import ModelManifest
from model_store.store import ModelStore


class Predictor(Protocol):
    """A loaded, checked and warm model."""

    @property
    def engine(self) -> str:
        """What computes, with its version: `tensorflow 2.21.0`."""

    @property
    def streams(self) -> int:
        """Calls to compute at the same time."""

    @property
    def calls_ahead(self) -> int:
        """Extra calls to queue in the engine, so that a stream never idles."""

    @property
    def work(self) -> Work:
        """What a call costs, estimated."""

    @property
    def tile_items(self) -> int:
        """Rows of every call."""

    def predict_tile(self, tile: Array) -> NDArray[np.float32]:
        """Item dtype [tile_items, *item_shape] → float32 [tile_items, outputs]; from any thread."""


#: Builds the predictor of a manifest from the file of the artifact.
PredictorFactory = Callable[[ModelManifest, Path], Predictor]
#: Chooses the rows of a model's predict calls, and may measure to do so.
ChooseTile = Callable[[ModelManifest, Compile, Work], int]


class EnginePredictor:
    """A model on `engine`; refused unless it reproduces its golden batch."""

    def __init__(
        self,
        manifest: ModelManifest,
        artifact: Path,
        *,
        engine: Engine,
        models: ModelStore,
        choose_tile: ChooseTile,
    ) -> None:
        model = engine.load(manifest, artifact, allowed_objects=models.trust.allowed_objects)
        compile_for = functools.cache(model.compile)
        self.engine = engine.name
        self.streams, self.calls_ahead = engine.streams, engine.calls_ahead
        self.work = model.work
        self.tile_items = choose_tile(manifest, compile_for, model.work)
        self._predict = compile_for(self.tile_items)
        golden = manifest.golden
        # Wrong weights show in any item, and all were compared when the model was published.
        compared = slice(model.work.golden_items(self.tile_items))
        check_golden(
            self._predict,
            inputs=from_npy(models.fetch(golden.inputs), where=golden.inputs.key)[compared],
            outputs=from_npy(models.fetch(golden.outputs), where=golden.outputs.key)[compared],
            tile_items=self.tile_items,
            where=f"model {manifest} on {engine.name}",
            tolerance=engine.tolerance,
        )

    def predict_tile(self, tile: Array) -> NDArray[np.float32]:
        """Item dtype [tile_items, *item_shape] → float32 [tile_items, outputs]."""
        return self._predict(tile)
