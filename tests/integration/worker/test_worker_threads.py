"""A worker takes as many messages as finished shards ask for, or its setting says."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fornada.jobs.outcome import JobState

from .conftest import ITEM_SHAPE, START_S
from .programs.far_worker import THREADS

SHARDS = 40


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(None, id="as shards ask for"),
        pytest.param(5, id="as the settings say", marks=pytest.mark.slow),
    ],
)
def test_a_worker_takes_as_many_messages_as_keep_its_engine_from_waiting(
    given: int | None, deploy: Callable[..., Any], wait_until: Callable[..., None]
) -> None:
    # given a worker, and more to do than it can take; each call lasts for many looks at the queue
    deployment, _ = deploy(delay_s=0.3, max_inline_bytes=0, worker_threads=given)
    job = deployment.client.submit(
        np.zeros((SHARDS, *ITEM_SHAPE), np.uint8), model="m", items_per_shard=1
    )
    worker = deployment.start_program("far_worker.py")
    held: list[int] = []
    try:
        with deployment.redis() as client:

            def is_over() -> bool:
                held.append(client.hlen("fornada:unacked"))
                return job.status().ended

            # when
            wait_until(is_over, timeout_s=START_S)
    finally:
        worker.terminate()
        worker.wait(30)

    # then it has held that many, and never more
    assert JobState.SUCCEEDED == job.status().state, deployment.log()
    assert (given or THREADS) == max(held)
