"""A trial makes the calls that a worker would make, and says what they took."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fornada.formats.rows import Rows
from model_store.engines import trial
from model_store.engines.artifact.work import Work
from model_store.engines.interface import EngineModel
from model_store.wall.messages import Check

from ....arrays import giving, taking

_LIGHT = Work(multiplications=10, weight_bytes=10, output_bytes=8, operation_count=1)
_HEAVY = Work(multiplications=10**9, weight_bytes=10**7, output_bytes=10**6, operation_count=99)


@pytest.fixture
def calls_of(tmp_path: Path) -> Callable[..., list[int]]:
    """`calls_of(work, …)`: the rows of the calls that a trial made."""
    np.save(tmp_path / "inputs.npy", np.ones((3, 5), np.float32))
    np.save(tmp_path / "outputs.npy", np.ones((3, 2), np.float32))

    def calls_of(
        work: Work,
        *,
        tile_items: int | None = None,
        most_items: int = 10**6,
        item_shape: tuple[int | None, ...] = (5,),
    ) -> list[int]:
        def predict(given: Rows) -> Rows:
            rows = given.only
            if len(rows) > most_items:
                raise MemoryError
            # Items of a golden batch, over and over; or zeros in place of those that it lacks.
            assert {0.0, 1.0} >= set(np.unique(rows))
            return Rows(np.ones((len(rows), 2), np.float32))

        model = EngineModel(compile=lambda _items: predict, work=work)
        engine: Any = SimpleNamespace(
            name="fake 1", tolerance=1e-4, framework=None, load=lambda *_, **__: model
        )
        request = Check(
            artifact=str(tmp_path),
            where="m",
            allowed_objects=[],
            engine="fake",
            inputs=taking(item_shape),
            outputs=giving(2),
            golden_inputs=str(tmp_path / "inputs.npy"),
            golden_outputs=str(tmp_path / "outputs.npy"),
            tile_items=tile_items,
        )
        return [call.tile_items for call in trial.check(request, engine).calls]

    return calls_of


def test_a_model_is_called_as_a_worker_calls_it(calls_of: Callable[..., list[int]]) -> None:
    assert 1 < _HEAVY.call_items < 32
    assert [_HEAVY.call_items] == calls_of(_HEAVY)
    assert [100] == calls_of(_LIGHT, tile_items=100)
    assert [64] == calls_of(_LIGHT, item_shape=(None,))


def test_a_light_model_is_called_with_fewer_rows_first(calls_of: Callable[..., list[int]]) -> None:
    assert [32, _LIGHT.call_items] == calls_of(_LIGHT)
    # as far as memory goes
    assert [32] == calls_of(_LIGHT, most_items=100)
    with pytest.raises(MemoryError):
        calls_of(_LIGHT, most_items=20)
