"""Shards that outlast the visibility timeout are delivered again while they run."""

import sys
from collections.abc import Callable

import numpy as np
import pytest

from .checker import OutcomeHistory, check_job
from .deployment import END_WITHIN_S, ITEMS_PER_SHARD, MAX_ATTEMPTS, Deployment
from .fault_control import FaultControl
from .injected.fault_points import SLOW

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(300),
]

SHARDS = 24
VISIBILITY_TIMEOUT_S = 1

WaitUntil = Callable[..., None]


@pytest.fixture(scope="module")
def worker_environ() -> dict[str, str]:
    """A message held for a second is delivered again."""
    return {"FAULT_VISIBILITY_TIMEOUT_S": str(VISIBILITY_TIMEOUT_S)}


def test_messages_that_come_again_while_their_shard_is_at_work_are_sent_away(
    deployment: Deployment, faults: FaultControl
) -> None:
    # given: in each shard an item that takes six times the timeout
    images = deployment.images(SHARDS * ITEMS_PER_SHARD)
    images[::ITEMS_PER_SHARD, 0] = np.frombuffer(SLOW, np.uint8)
    history = OutcomeHistory(deployment.objects)

    # when
    job = deployment.client().submit(images, model="m:1")
    status = job.wait(timeout_s=END_WITHIN_S)

    # then
    assert ("SUCCEEDED", SHARDS) == (status.state, status.shards_done)
    assert faults.leased_count(job.id) > 0
    assert SHARDS == status.attempts
    history.observe(job.id)
    history.check()
    check_job(
        deployment.objects,
        job.id,
        expected_probabilities=deployment.predict(images),
        max_attempts=MAX_ATTEMPTS,
    )
