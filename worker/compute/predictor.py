"""One model of the store on the engine: loaded, checked, and warm."""

import copy
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

from fornada.errors import (
    DeviceMemoryError,
    ModelDeclinedError,
    error_line,
)
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

    @property
    def part_items(self) -> int | None:
        """As `EngineModel.part_items`, for these calls."""

    def rows_for(self, item_shapes: Sequence[Sequence[int]]) -> int:
        """Rows of every call of items whose inputs have these shapes."""

    def predict_tile(self, tile: Rows) -> Rows:
        """The outputs of `rows_for` rows, or of a multiple of `part_items`; from any thread."""

    def predict_one(self, row: Rows) -> Rows:
        """The outputs of a single row; other bytes than in a tile."""

    def smaller(self, why: DeviceMemoryError) -> Self:
        """The same model, in calls of half as many rows.

        Raises:
            ModelDeclinedError: They have one row, and that does not fit.
        """


#: Builds the predictor of a manifest from the file of the artifact, whose calls have at most that
#: many rows; `None`: any number.
PredictorFactory = Callable[[ModelManifest, Path, int | None], Predictor]
#: Chooses the rows of a model's predict calls.
ChooseTile = Callable[[ModelManifest, Work], int]
#: Hears of calls that have fewer rows from now on: how many, and why.
OnHalved = Callable[[int, str], object]


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
        on_halved: OnHalved = lambda _tile_items, _why: None,
    ) -> None:
        """Load the model, and compare what it gives with its golden batch.

        Args:
            manifest: The model.
            artifact: Its file.
            engine: Computes it.
            models: Has the golden batch.
            choose_tile: Chooses the rows of a call.
            on_halved: Called when a call does not fit into the memory of the GPU.

        Raises:
            ModelRefusedError: It is unsafe, or gives something else.
            ModelDeclinedError: Not even one row fits into the memory of the GPU.
        """
        self._manifest, self._on_halved = manifest, on_halved
        self._takes, self._gives = manifest.inputs, manifest.outputs
        self._is_open = any(tensor.is_open for tensor in self._takes)
        model = engine.load(
            artifact,
            where=f"model {manifest}",
            takes=self._takes,
            gives=self._gives,
            allowed_objects=models.trust.allowed_objects,
        )
        self._compile, self._part_items_of = model.compile, model.part_items
        self._compile_one = functools.cache(lambda: model.compile(1))
        self.engine = engine.name
        self.streams, self.calls_ahead = engine.streams, engine.calls_ahead
        self.work = model.work
        tile_items = OPEN_TILE_ITEMS
        if not self._is_open:
            tile_items = choose_tile(manifest, model.work)
        self._begin(tile_items, lambda: self._check_golden(manifest, engine=engine, models=models))

    def _begin(self, tile_items: int, check: Callable[[], object] = lambda: None) -> None:
        """Compile calls of `tile_items` rows, halved until they fit in GPU memory."""
        while True:
            try:
                self.tile_items = tile_items
                self._predict = self._compile(tile_items)
                check()
            except DeviceMemoryError as exc:
                tile_items = self._half(exc)
            else:
                return

    def _half(self, why: DeviceMemoryError) -> int:
        if self.tile_items == 1:
            raise ModelDeclinedError(
                f"model {self._manifest} does not fit into the memory of the GPU, even in calls of "
                f"one item ({error_line(why)}); predict it with workers that have a larger one, or "
                "keep fewer models loaded (FORNADA_MAX_LOADED_MODELS)"
            ) from why
        half = self.tile_items // 2
        self._on_halved(half, error_line(why))
        return half

    def smaller(self, why: DeviceMemoryError) -> Self:
        """The same model, in calls of half as many rows.

        Raises:
            ModelDeclinedError: They have one row, and that does not fit.
        """
        smaller = copy.copy(self)
        smaller._begin(self._half(why))  # noqa: SLF001 - one of us
        return smaller

    @property
    def part_items(self) -> int | None:
        """As `EngineModel.part_items`, for these calls."""
        if self._part_items_of is None or self._is_open:
            return None
        return self._part_items_of(self.tile_items)

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
        if not self._is_open:
            return self.tile_items
        return min(self.tile_items, open_tile_items(item_shapes))

    def predict_tile(self, tile: Rows) -> Rows:
        """The outputs of a tile."""
        return self._predict(tile)

    def predict_one(self, row: Rows) -> Rows:
        """The outputs of a single row; the first call compiles it."""
        predict = self._predict if self._is_open else self._compile_one()
        return predict(row)


def _golden(ref: ObjectRef, tensors: Sequence[Tensor], models: ModelStore) -> Rows:
    return from_golden(models.fetch(ref), tensors, where=ref.key)
