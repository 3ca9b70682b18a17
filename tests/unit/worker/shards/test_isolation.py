"""A shard that kills its process is halved down to the deadly item."""

import errno
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fornada.errors import DeviceLostError, InputError, ModelRefusedError
from fornada.jobs.items import Placed
from fornada.records import ItemError
from worker.shards import isolated
from worker.shards.isolation import MAX_DEATHS, IsolatedProcess, ProcessDiedError, bisect

from ....arrays import giving

#: Answers like `worker.shards.isolated`, without a model; item 2 is deadly.
_CHILD = """
import json, os, signal, sys, time
import numpy as np
for line in sys.stdin:
    request = json.loads(line)
    if "load" in request:
        {on_load}
        print(json.dumps({{"engine": "none"}}), flush=True)
        continue
    first, count = request["first"], request["count"]
    if first <= 2 < first + count:
        {on_deadly}
    rows = np.arange(first, first + count, dtype=np.float32)[:, None].repeat(2, axis=1)
    with open(request["output"], "wb") as output:
        np.save(output, rows)
    print(json.dumps({{"errors": [], "bytes_in": 100, "tiles": {{f"[{{first}}]": 1}}}}), flush=True)
"""
_KILL = "os.kill(os.getpid(), signal.SIGKILL)"


def _process(
    tmp_path: Path, *, on_load: str = "pass", on_deadly: str = "pass", timeout_s: float = 60.0
) -> IsolatedProcess:
    script = tmp_path / "child.py"
    script.write_text(textwrap.dedent(_CHILD.format(on_load=on_load, on_deadly=on_deadly)))
    return IsolatedProcess([sys.executable, str(script)], gives=giving(2), timeout_s=timeout_s)


@given(item_count=st.integers(1, 300), deadly=st.sets(st.integers(0, 299), max_size=4))
def test_every_item_but_the_deadly_ones_gets_its_own_row(item_count: int, deadly: set[int]) -> None:
    assume(not set(range(item_count)) <= deadly)

    def predict(first: int, count: int) -> Placed:
        if deadly & set(range(first, first + count)):
            raise ProcessDiedError("signal 9")
        return Placed([np.arange(first, first + count, dtype=np.float32)[:, None]], [])

    (rows,), errors = bisect(item_count, predict, gives=giving())

    expected = [np.nan if index in deadly else index for index in range(item_count)]
    np.testing.assert_array_equal(np.array(expected, np.float32), rows[:, 0])
    assert sorted(p for p in deadly if p < item_count) == [error.index for error in errors]


def test_one_deadly_item_among_thousands_costs_few_processes() -> None:
    deaths = 0

    def predict(first: int, count: int) -> Placed:
        nonlocal deaths
        if first <= 1234 < first + count:
            deaths += 1
            raise ProcessDiedError("signal 9")
        return Placed([np.zeros((count, 1), np.float32)], [])

    bisect(4096, predict, gives=giving())

    assert 13 == deaths


@pytest.mark.parametrize(
    ("item_count", "why", "deaths"),
    [
        (4096, "65 processes died over it; the last: signal 9", MAX_DEATHS + 1),
        (4, "a process died over every item", 7),
    ],
)
def test_a_shard_of_deadly_items_comes_to_an_end_and_does_not_blame_them(
    item_count: int, why: str, deaths: int
) -> None:
    died: list[int] = []

    def predict(first: int, _count: int) -> Placed:
        died.append(first)
        raise ProcessDiedError("signal 9")

    with pytest.raises(ProcessDiedError, match=why):
        bisect(item_count, predict, gives=giving())

    assert deaths == len(died)


def test_a_killed_process_is_started_again_and_the_rest_is_predicted(tmp_path: Path) -> None:
    with _process(tmp_path, on_deadly=_KILL) as process:
        (rows,), errors = bisect(5, process.predict, gives=giving(2))

        call_sizes, bytes_in = process.call_sizes, process.bytes_in

    np.testing.assert_array_equal([0, 1, np.nan, 3, 4], rows[:, 0])
    assert {"tiles": {"[0]": 1, "[3]": 1}} == call_sizes
    assert 200 == bytes_in
    assert [ItemError(index=2, reason="its worker died over it: signal 9")] == errors


def test_a_process_that_hangs_counts_as_dead(tmp_path: Path) -> None:
    with _process(tmp_path, on_deadly="time.sleep(600)", timeout_s=2.0) as process:
        with pytest.raises(ProcessDiedError, match="signal 9"):
            process.predict(2, 1)
        (rows,), _ = process.predict(3, 1)

    np.testing.assert_array_equal([[3, 3]], rows)


def test_a_process_that_is_slow_to_load_its_model_is_waited_for(tmp_path: Path) -> None:
    with _process(tmp_path, on_load="time.sleep(2.5)", timeout_s=2.0) as process:
        (rows,), errors = process.predict(0, 2)

    np.testing.assert_array_equal([0, 1], rows[:, 0])
    assert [] == errors


def test_a_full_disk_does_not_blame_the_items(tmp_path: Path) -> None:
    def predict() -> dict[str, Any]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    answer = isolated._answered(predict)

    # then IsolatedProcess takes it for a store that fails for now
    assert {"failed": "transient", "message": "[Errno 28] No space left on device"} == answer


def test_a_process_that_loses_its_device_dies_of_it() -> None:
    def predict() -> dict[str, Any]:
        raise DeviceLostError("CUDA_ERROR_LAUNCH_FAILED")

    with pytest.raises(DeviceLostError):
        isolated._answered(predict)


def test_a_model_that_kills_the_process_that_loads_it_is_refused(tmp_path: Path) -> None:
    with (
        _process(tmp_path, on_load=_KILL) as process,
        pytest.raises(ModelRefusedError, match="the process that loads it dies"),
    ):
        process.predict(0, 1)


def test_typed_failures_arrive_as_our_errors(tmp_path: Path) -> None:
    answer = """print(json.dumps({"failed": "item", "message": "no such object"}), flush=True)"""

    with (
        _process(tmp_path, on_load=f"{answer}; continue") as process,
        pytest.raises(InputError, match="no such object"),
    ):
        process.predict(0, 1)
