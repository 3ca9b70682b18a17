"""One model of the store on the engine: loaded, checked, and warm."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from fornada.formats.rows import Rows
from fornada.formats.tensor_file import Tensor
from fornada.records import ObjectRef
from model_store.engines.artifact.work import Work
from model_store.engines.golden import check_golden, refusal_by
from model_store.engines.interface import Engine
from model_store.engines.open_sizes import OPEN_TILE_ITEMS, open_tile_items
from model_store.golden_batch import from_golden
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
        """Rows of every call; if the model's input has open sides, the most."""

    def rows_for(self, item_shapes: Sequence[Sequence[int]]) -> int:
        """Rows of every call of items whose inputs have these shapes."""

    def predict_tile(self, tile: Rows) -> Rows:
        """The outputs of `rows_for` rows; from any thread."""

    def predict_one(self, row: Rows) -> Rows:
        """The outputs of a single row; other bytes than in a tile."""


#: Builds the predictor of a manifest from the file of the artifact, whose calls have at most that
#: many rows; `None`: any number.
PredictorFactory = Callable[[ModelManifest, Path, int | None], Predictor]
#: Chooses the rows of a model's predict calls.
ChooseTile = Callable[[ModelManifest, Work], int]


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
        self._takes, self._gives = manifest.inputs, manifest.outputs
        self._is_open = any(tensor.is_open for tensor in self._takes)
        model = engine.load(
            artifact,
            where=f"model {manifest}",
            takes=self._takes,
            gives=self._gives,
            allowed_objects=models.trust.allowed_objects,
        )
        self._compile_for = functools.cache(model.compile)
        self.engine = engine.name
        self.streams, self.calls_ahead = engine.streams, engine.calls_ahead
        self.work = model.work
        self.tile_items = OPEN_TILE_ITEMS
        if not self._is_open:
            self.tile_items = choose_tile(manifest, model.work)
        self._predict = self._compile_for(self.tile_items)
        self._check_golden(manifest, engine=engine, models=models)

    def _check_golden(self, manifest: ModelManifest, *, engine: Engine, models: ModelStore) -> None:
        inputs = _golden(manifest.golden.inputs, self._takes, models)
        tile_items = self.rows_for(inputs.shapes)
        # Wrong weights show in any item, and all were compared when the model was published.
        compared = slice(self.work.golden_items(tile_items))
        outputs = _golden(manifest.golden.outputs, self._gives, models)
        check_golden(
            self._predict,
            inputs=inputs[compared],
            outputs=outputs[compared],
            tile_items=tile_items,
            where=f"model {manifest} on {engine.name}",
            tolerance=engine.tolerance,
            error=refusal_by(engine.framework, golden_framework=manifest.golden_framework),
        )

    def rows_for(self, item_shapes: Sequence[Sequence[int]]) -> int:
        """Rows of every call of items whose inputs have these shapes."""
        return open_tile_items(item_shapes) if self._is_open else self.tile_items

    def predict_tile(self, tile: Rows) -> Rows:
        """The outputs of a tile."""
        return self._predict(tile)

    def predict_one(self, row: Rows) -> Rows:
        """The outputs of a single row; the first call compiles it."""
        predict = self._predict if self._is_open else self._compile_for(1)
        return predict(row)


def _golden(ref: ObjectRef, tensors: Sequence[Tensor], models: ModelStore) -> Rows:
    return from_golden(models.fetch(ref), tensors, where=ref.key)
