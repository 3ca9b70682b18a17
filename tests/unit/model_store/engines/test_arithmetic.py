"""The engine of tests: its answers follow from the artifact, and it misbehaves when asked to."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fornada.errors import ModelRefusedError, PredictionError
from fornada.formats.rows import Rows
from fornada.storage.memory import InMemoryObjectStore
from model_store.engines.arithmetic import ArithmeticEngine
from model_store.engines.golden import check_golden
from model_store.store import ModelStore
from model_store.testing import publish_for_test

from ....arrays import PredictArray, on_arrays, on_rows


def _published(
    folder: Path, *, seed: int = 0, fails_on: int | None = None
) -> tuple[Callable[[int], PredictArray], ModelStore]:
    models = ModelStore(objects=InMemoryObjectStore())
    publish_for_test(models, item_shape=[3, 5], classes=["a", "b"], seed=seed, fails_on=fails_on)
    manifest = models.resolve("m")
    models.download(manifest.artifact, folder / "artifact")
    engine = ArithmeticEngine(threads=2)
    model = engine.load(
        folder / "artifact",
        where="model m",
        takes=manifest.inputs,
        gives=manifest.outputs,
        allowed_objects=(),
    )
    return lambda tile_items: on_arrays(model.compile(tile_items)), models


def _items(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(1, 256, (count, 3, 5), np.uint8)


def test_a_row_has_the_same_bytes_in_any_batch(tmp_path: Path) -> None:
    compile_for, _ = _published(tmp_path)
    items = _items(9)

    together = compile_for(9)(items)

    alone = [compile_for(1)(items[n : n + 1]) for n in range(9)]
    assert np.concatenate(alone).tobytes() == together.tobytes()
    assert np.float32 == together.dtype
    assert 0 < together.min() < together.max() < 1


def test_another_artifact_fails_the_golden_batch(tmp_path: Path) -> None:
    compile_for, _ = _published(tmp_path, seed=1)
    inputs = _items(2)

    with pytest.raises(ModelRefusedError, match="differs by"):
        check_golden(
            on_rows(compile_for(2)),
            inputs=Rows(inputs),
            outputs=Rows(_published(tmp_path, seed=2)[0](2)(inputs)),
            tile_items=2,
            where="m",
            tolerance=ArithmeticEngine.tolerance,
        )


def test_a_call_fails_on_the_item_that_the_model_names(tmp_path: Path) -> None:
    compile_for, _ = _published(tmp_path, fails_on=250)
    items = _items(4)
    items[2, 0, 0] = 250

    with pytest.raises(PredictionError, match="an item begins with 250"):
        compile_for(4)(items)


def test_an_artifact_of_another_engine_is_refused(tmp_path: Path) -> None:
    _, models = _published(tmp_path)

    (tmp_path / "other").write_bytes(b"PK\x03\x04")

    with pytest.raises(ModelRefusedError, match="FORNADA_ENGINE=test runs no other model"):
        ArithmeticEngine(threads=1).load(
            tmp_path / "other",
            where="model m",
            takes=models.resolve("m").inputs,
            gives=models.resolve("m").outputs,
            allowed_objects=(),
        )
