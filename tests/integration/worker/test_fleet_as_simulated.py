"""The simulated fleet beside a real one of 32 worker processes, whose predictions wait."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.contenders.fornada_worker import last_outcome_at
from benchmarks.fleet.costs import Costs
from benchmarks.fleet.simulation import Fleet, embedded, simulate

from .conftest import ITEM_SHAPE

PROCESSES = 32
#: Starting them takes a minute of two cores.
START_S = 600.0
COSTS = Path(__file__).parents[3] / "benchmarks" / "results" / "fleet-costs.json"


@pytest.mark.soak
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "of_job",
    [
        # Each process is busy all the time.
        {"window": 1000, "shard_s": 2.0, "shards": 640},
        # The leader refills less than they could do.
        {"window": 24, "shard_s": 1.0, "shards": 320},
    ],
    ids=["busy", "starved"],
)
def test_the_model_is_right_within_a_fifth(
    of_job: dict[str, Any],
    deploy: Callable[..., Any],
    wait_until: Callable[..., None],
    request: pytest.FixtureRequest,
) -> None:
    shards = of_job["shards"]
    deployment, start = deploy(
        delay_s=of_job["shard_s"],
        enqueue_window=of_job["window"],
        max_batch_size=1,
        worker_threads=1,
        max_inline_bytes=0,
    )
    start("--processes", str(PROCESSES))
    wait_until(lambda: len(deployment.client.workers()) == PROCESSES, START_S)
    # Every process has loaded the model.
    images = np.zeros((shards, *ITEM_SHAPE), np.uint8)
    warm = deployment.client.submit(images[: 4 * PROCESSES], model="m", items_per_shard=1)
    assert "SUCCEEDED" == warm.wait(timeout_s=START_S).state

    job = deployment.client.submit(images, model="m", items_per_shard=1)
    status = job.wait(timeout_s=START_S)

    costs = Costs.read(COSTS)
    simulated = simulate(
        Fleet(
            workers=PROCESSES,
            threads=1,
            shards=shards,
            shard_s=of_job["shard_s"] + costs.shard_worker_s,
            store=embedded(costs),
            window=of_job["window"],
        ),
        costs,
    )
    assert status.started_at is not None
    took_s = last_outcome_at([status]) - status.started_at.timestamp()
    request.config.get_terminal_writer().line(
        f"\n{shards / took_s:.1f} shards/s, simulated {simulated.shards_per_s:.1f}"
    )
    assert 0.8 < took_s / simulated.working_s < 1.2
