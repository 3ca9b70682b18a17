"""A model is accepted only if the engine gives the outputs of its golden batch."""

from collections.abc import Callable, Collection

import numpy as np
import pytest

from fornada.errors import ModelRefusedError
from fornada.storage.memory import InMemoryObjectStore
from model_store.engines.interface import Predict
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from model_store.testing import draft_for_test
from worker.compute.predictor import ChooseTile, EnginePredictor

_GOLDEN = np.arange(6, dtype=np.float32).reshape(2, 3)


class _Engine:
    """Answers the items, and something more."""

    name = "fake 1 float16"
    tolerance = 0.01
    streams = 2
    calls_ahead = 1

    def __init__(self, *, off_by: float) -> None:
        self._off_by = np.float32(off_by)

    def load(
        self, _manifest: ModelManifest, _artifact: bytes, *, allowed_objects: Collection[str]
    ) -> Callable[[int], Predict]:
        return lambda _tile_items: lambda tile: tile.astype(np.float32) + self._off_by


def _predictor(*, off_by: float, choose_tile: ChooseTile = lambda *_: 4) -> EnginePredictor:
    models = ModelStore(objects=InMemoryObjectStore())
    manifest = models.publish(
        draft_for_test(name="m", item_shape=[3], item_dtype="float32", classes=["a", "b", "c"]),
        artifact=b"weights",
        golden_inputs=_GOLDEN,
        golden_outputs=_GOLDEN,
        check=lambda _artifact: None,
    )
    return EnginePredictor(
        manifest,
        b"weights",
        engine=_Engine(off_by=off_by),
        models=models,
        choose_tile=choose_tile,
    )


def test_a_difference_within_the_engines_tolerance_is_accepted() -> None:
    # 0.01 times 5, the largest of the golden outputs
    predictor = _predictor(off_by=0.045)

    assert "fake 1 float16" == predictor.engine
    np.testing.assert_array_equal(_GOLDEN + np.float32(0.045), predictor.predict_tile(_GOLDEN))


@pytest.mark.parametrize(("off_by", "figure"), [(0.055, "0.055"), (float("nan"), "nan")])
def test_a_larger_difference_is_refused_with_its_figures_and_the_engine(
    off_by: float, figure: str
) -> None:
    with pytest.raises(ModelRefusedError) as refusal:
        _predictor(off_by=off_by)

    fact = f"model m:1 on fake 1 float16 differs by {figure} from the outputs of its golden batch"
    assert f"{fact}, over 0.05;" in str(refusal.value)


def test_it_uses_the_chosen_tile_and_compiles_each_once() -> None:
    tried: list[object] = []

    def choose_tile(_manifest: ModelManifest, compile_for: Callable[[int], Predict]) -> int:
        tried.extend(compile_for(tile_items) for tile_items in (2, 3))
        return 3

    predictor = _predictor(off_by=0.0, choose_tile=choose_tile)

    assert 3 == predictor.tile_items
    assert tried[1] is predictor._predict
