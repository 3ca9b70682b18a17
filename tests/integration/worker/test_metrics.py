"""What a worker's supervisor serves: the work of all its processes, through their deaths."""

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ...deployment import TILE_ITEMS
from ...scraped import Scraped, metrics_url, scrape
from .conftest import START_S

#: Each starts processes.
pytestmark = pytest.mark.slow

Deploy = Callable[..., tuple[Any, Callable[..., Any]]]
WaitUntil = Callable[..., None]
#: Each shard of 100 is a tile of 64 rows and one of 36, unless two shards share one.
ITEMS_PER_SHARD = 100
STAGES = {"fetch": 3, "decode": 0, "wait": 3, "predict": 3, "put": 3, "commit": 3}


@pytest.fixture
def deployment(deploy: Deploy, wait_until: WaitUntil) -> Any:
    """A worker of two processes with threads, which is up, and serves metrics at a free port."""
    deployment, start = deploy(
        metrics_port=0, worker_threads=2, max_inline_bytes=0, lease_s=1, requeue_after_s=1
    )
    start("--processes", "2")
    wait_until(lambda: len(deployment.worker_pids()) == 2, START_S)
    return deployment


@pytest.fixture
def scraped(deployment: Any) -> Callable[[], Scraped]:
    """What is served now."""
    return lambda: scrape(str(metrics_url(deployment.folder / "worker.log")))


def test_a_job_is_counted_once_by_all_processes(
    deployment: Any, scraped: Callable[[], Scraped], images: NDArray[np.uint8]
) -> None:
    job = deployment.client.submit(images, model="m", items_per_shard=ITEMS_PER_SHARD)
    assert deployment.is_right(job, images)

    found = scraped()

    assert {"ok": 300, "failed": 0} == found.by(
        "result", "fornada_items_total", model="m", version="1"
    )
    assert {"ok": 3, "dead": 0} == found.by("outcome", "fornada_shards_total")
    assert STAGES == found.by("stage", "fornada_shard_stage_seconds_count")
    rows = found.value("fornada_predict_call_rows_sum")
    padding = found.value("fornada_predict_padding_rows_total")
    calls = found.value("fornada_predict_call_seconds_count", model="m")
    assert (300, TILE_ITEMS * calls) == (rows, rows + padding)
    # The outputs and the outcome of each shard, and the job's end.
    stored = found.value("fornada_store_requests_total", op="put", code="ok")
    stored += found.value("fornada_store_requests_total", op="put_if_absent", code="ok")
    assert 7 == stored
    assert 0 == found.value("fornada_worker_restarts_total")
    assert 1 == found.value("fornada_reconciler_leader", queue=deployment.settings.queue)
    assert {"1"} == {labels["version"] for labels, _ in found.samples("fornada_model_info")}


def test_what_was_counted_outlives_the_processes(
    deployment: Any,
    scraped: Callable[[], Scraped],
    images: NDArray[np.uint8],
    wait_until: WaitUntil,
) -> None:
    def run() -> None:
        job = deployment.client.submit(images, model="m", items_per_shard=ITEMS_PER_SHARD)
        assert deployment.is_right(job, images)

    run()
    for pid in deployment.worker_pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: scraped().value("fornada_worker_restarts_total") == 2, START_S)
    run()

    found = scraped()
    assert 600 == found.value("fornada_items_total")
    restarts = {"asked": 0, "failed": 0, "signal": 2, "no_life": 0}
    assert restarts == found.by("reason", "fornada_worker_restarts_total")
    wait_until(lambda: scraped().value("fornada_reconciler_leader") == 1, START_S)
