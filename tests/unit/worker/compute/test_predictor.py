"""A model is accepted only if the engine gives the outputs of its golden batch."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pytest

from fornada.errors import DeviceMemoryError, ModelDeclinedError, ModelRefusedError
from fornada.formats.rows import Rows
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import InputTensor, OutputTensor
from model_store.engines.artifact.work import Work
from model_store.engines.interface import EngineModel, Predict
from model_store.store import ModelStore
from model_store.testing import draft_for_test
from worker.compute.predictor import ChooseTile, EnginePredictor, OnHalved

_GOLDEN = np.arange(6, dtype=np.float32).reshape(2, 3)


class _Engine:
    """Answers the items, and something more."""

    name = "fake 1 float16"
    tolerance = 0.01
    streams = 2
    calls_ahead = 1
    framework = "fake"

    def __init__(self, *, off_by: float, multiplications: int = 3, fits_items: int = 64) -> None:
        self._off_by = np.float32(off_by)
        self._multiplications = multiplications
        self.fits_items = fits_items
        #: Rows of the calls that were compiled.
        self.compiled: list[int] = []

    def load(
        self,
        _artifact: Path,
        *,
        where: str,
        takes: Sequence[InputTensor],
        gives: Sequence[OutputTensor],
        allowed_objects: Collection[str],
    ) -> EngineModel:
        def predict(tile: Rows) -> Rows:
            if len(tile) > self.fits_items:
                raise DeviceMemoryError(f"{len(tile)} rows over {self.fits_items}")
            return Rows(tile.only.astype(np.float32) + self._off_by)

        def compile_for(tile_items: int) -> Predict:
            self.compiled.append(tile_items)
            return predict

        return EngineModel(
            compile=compile_for,
            work=Work(
                multiplications=self._multiplications,
                weight_bytes=0,
                output_bytes=12,
                operation_count=1,
            ),
        )


def _predictor(
    *,
    off_by: float,
    choose_tile: ChooseTile = lambda *_: 4,
    golden: np.ndarray = _GOLDEN,
    outputs: np.ndarray | None = None,
    multiplications: int = 3,
    shape: Sequence[int | None] = (3,),
    fits_items: int = 64,
    on_halved: OnHalved = lambda *_: None,
    compiled: list[int] | None = None,
) -> EnginePredictor:
    models = ModelStore(objects=InMemoryObjectStore())
    draft = draft_for_test(name="m", item_shape=[3], item_dtype="float32", classes=["a", "b", "c"])
    taken = draft.input.model_copy(update={"shape": list(shape)})
    manifest = models.publish(
        draft.model_copy(update={"inputs": [taken]}),
        artifact=b"weights",
        golden_inputs=golden,
        golden_outputs=golden if outputs is None else outputs,
        check=lambda _artifact: None,
    )
    engine = _Engine(off_by=off_by, multiplications=multiplications, fits_items=fits_items)
    engine.compiled = [] if compiled is None else compiled
    return EnginePredictor(
        manifest,
        Path("weights"),
        engine=engine,
        models=models,
        choose_tile=choose_tile,
        on_halved=on_halved,
    )


def test_a_difference_within_the_engines_tolerance_is_accepted() -> None:
    # 0.01 times 5, the largest of the golden outputs
    predictor = _predictor(off_by=0.045)

    assert "fake 1 float16" == predictor.engine
    np.testing.assert_array_equal(
        _GOLDEN + np.float32(0.045), predictor.predict_tile(Rows(_GOLDEN)).only
    )


@pytest.mark.parametrize(("off_by", "figure"), [(0.055, "0.055"), (float("nan"), "nan")])
def test_a_larger_difference_is_refused_with_its_figures_and_the_engine(
    off_by: float, figure: str
) -> None:
    with pytest.raises(ModelRefusedError) as refusal:
        _predictor(off_by=off_by)

    fact = f"model m:1 on fake 1 float16 differs by {figure} from the outputs of its golden batch"
    assert f"{fact}, over 0.05;" in str(refusal.value)


def test_a_heavy_model_is_compared_over_whole_tiles_that_take_little_time() -> None:
    # given a golden batch whose last items are wrong
    golden = np.ones((32, 3), np.float32)
    wrong = np.where(np.arange(32)[:, np.newaxis] < 12, golden, np.float32(np.nan))

    _predictor(off_by=0.0, golden=golden, outputs=wrong, multiplications=10**9)
    with pytest.raises(ModelRefusedError, match="differs by nan"):
        _predictor(off_by=0.0, golden=golden, outputs=wrong, multiplications=10**8)
    # and never less than a tile
    with pytest.raises(ModelRefusedError, match="differs by"):
        _predictor(off_by=1.0, golden=golden, multiplications=10**12)


def test_the_rows_of_a_call_follow_from_the_shape_where_it_is_open() -> None:
    # given a tile that somebody chose
    fixed, of_any_length = (_predictor(off_by=0.0, shape=shape) for shape in ((3,), (None,)))

    assert 4 == fixed.rows_for([(3,)])
    assert {1: 64, 20: 64, 128: 16, 129: 8, 2048: 1, 10**7: 1} == {
        length: of_any_length.rows_for([(length,)]) for length in (1, 20, 128, 129, 2048, 10**7)
    }


def test_a_single_row_is_compiled_once_it_is_asked_for() -> None:
    compiled: list[int] = []
    predictor = _predictor(off_by=0.0, compiled=compiled)
    assert [4] == compiled

    for _ in range(2):
        np.testing.assert_array_equal(_GOLDEN[:1], predictor.predict_one(Rows(_GOLDEN[:1])).only)
        assert [4, 1] == compiled


def test_calls_that_do_not_fit_into_the_devices_memory_are_halved_at_load_and_later() -> None:
    halved: list[tuple[int, str]] = []
    predictor = _predictor(
        off_by=0.0,
        choose_tile=lambda *_: 64,
        fits_items=10,
        on_halved=lambda items, why: halved.append((items, why)),
    )

    assert 8 == predictor.tile_items
    assert [(items, f"{2 * items} rows over 10") for items in (32, 16, 8)] == halved

    # and as a copy, so that calls under way keep theirs
    smaller = predictor.smaller(DeviceMemoryError("8 rows"))
    assert (8, 4) == (predictor.tile_items, smaller.tile_items)
    assert (4, "8 rows") == halved[-1]


def test_a_model_of_which_no_row_fits_into_the_devices_memory_is_left_to_other_workers() -> None:
    with pytest.raises(ModelDeclinedError, match="does not fit into the memory of the GPU"):
        _predictor(off_by=0.0, fits_items=0)
