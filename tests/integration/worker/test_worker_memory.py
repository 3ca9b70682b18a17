"""A worker takes no more memory after very many shards than after some, and traces nothing anew."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.coordination.redis import RedisCoordination
from producer.client import Client

from .conftest import ITEM_SHAPE

WARM_SHARDS = 2_000
#: Of each thousand: shards of one job that reads objects, and jobs that travel in their messages.
READ, CARRIED = 100, 900
#: A kilobyte kept of each of 8,000 shards would be 8 MiB. Seen: 1.6 to 2 MiB, while pools and
#: caches of fixed size fill, and 0.4 MiB over the 30,000 shards after these.
MOST_GROWTH_MIB = 5.0
#: Ten times what they take on two quiet cores.
END_WITHIN_S = 300.0


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
@pytest.mark.timeout(END_WITHIN_S + 60)
@pytest.mark.slow
@pytest.mark.parametrize("shards", [4_000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_a_workers_memory_and_traces_do_not_grow_with_its_shards(
    shards: int,
    deploy: Callable[..., Any],
    tmp_path: Path,
    wait_until: Callable[..., None],
    request: pytest.FixtureRequest,
) -> None:
    # given a worker that has run some shards
    # (a fixed number of shards in hand: each more takes a megabyte)
    deployment, _ = deploy(engine="keras", worker_threads=4)
    traces = tmp_path / "traces"
    worker = deployment.start_program("traced_worker.py", traces)
    try:
        _run(deployment, WARM_SHARDS, wait_until)
        mib_before, traces_before = _resident_mib(worker.pid), int(traces.read_text())

        # when it has run many more
        _run(deployment, shards - WARM_SHARDS, wait_until)

        # then
        mib, trace_count = _resident_mib(worker.pid), int(traces.read_text())
    finally:
        worker.terminate()
        worker.wait(30)
    tell = request.config.get_terminal_writer().line
    tell(f"\n{shards} shards: RSS {mib_before:.1f} -> {mib:.1f} MiB, {trace_count} traces")
    assert traces_before == trace_count
    assert MOST_GROWTH_MIB > mib - mib_before
    ends = sum(info.key.endswith("/final.json") for info in deployment.objects.list("jobs/"))
    assert shards // 1000 * (1 + CARRIED) == ends


def _run(deployment: Any, shards: int, wait_until: Callable[..., None]) -> None:
    """Run this many shards of one item, by both ways to a worker."""
    coordination = RedisCoordination.from_settings(deployment.settings)
    objects_only = deployment.settings.model_copy(update={"max_inline_bytes": 0})
    images = np.random.default_rng(1).integers(0, 256, (CARRIED, *ITEM_SHAPE), np.uint8)
    reading = Client.from_settings(objects_only)
    for _ in range(shards // 1000):
        reading.submit(images[:READ], model="m:1", items_per_shard=1)
        deployment.client.submit_many(np.split(images, CARRIED), model="m:1")
        wait_until(lambda: coordination.open_jobs() == set(), timeout_s=END_WITHIN_S)
    reading.close()


def _resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
