"""A worker whose GPU fails every call: it ends for a restart, and its shards are not blamed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from worker.host.health import EXIT_RESTART

from .conftest import START_S


@pytest.mark.slow
def test_a_worker_that_loses_its_device_ends_and_no_attempt_counts(
    deploy: Callable[..., Any], images: np.ndarray
) -> None:
    # given a job whose shards may be begun once, and a worker that is lost over them
    deployment, start = deploy(reconcile_interval_s=0.2, max_attempts=1)
    job = deployment.client.submit(images, model="m", items_per_shard=50)
    worker = deployment.start_program("lost_device_worker.py")

    assert EXIT_RESTART == worker.wait(START_S), deployment.log()

    # then nothing that it had in hand counts
    assert "the GPU fails every call" in deployment.log()
    status = job.status()
    assert (0, 0, 0, 0) == (
        status.shards_done,
        status.shards_dead,
        status.shards_running,
        status.attempts,
    )

    # and a worker with a sound device does it
    start()
    assert deployment.is_right(job, images)
    assert 6 == job.status().attempts
