"""A worker whose GPU fails every call: it ends for a restart, and its shards are tried again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from worker.host.health import EXIT_RESTART

from .conftest import START_S


@pytest.mark.slow
def test_shards_over_which_workers_lose_their_device_are_done_in_processes_of_their_own(
    deploy: Callable[..., Any], images: np.ndarray
) -> None:
    # given a job whose shards may be begun once, and workers that are lost over them
    deployment, start = deploy(reconcile_interval_s=0.2, max_attempts=1, lease_s=1)
    job = deployment.client.submit(images, model="m", items_per_shard=50)
    worker = deployment.start_program("lost_device_worker.py")

    assert EXIT_RESTART == worker.wait(START_S), deployment.log()

    # then what it had in hand has had its attempt
    assert "the GPU fails every call" in deployment.log()
    status = job.status()
    assert (0, 0, 6) == (status.shards_done, status.shards_dead, status.attempts)

    # and a worker with a sound device does all of it
    start()
    assert deployment.is_right(job, images)
    assert 12 == job.status().attempts
