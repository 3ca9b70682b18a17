"""Shards that outlast the visibility timeout are delivered again while they run."""

import sys

import numpy as np
import pytest

from .rig.checker import OutcomeHistory
from .rig.deployment import ITEMS_PER_SHARD, Deployment
from .rig.fault_control import FaultControl
from .rig.injected.fault_points import SLOW

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(300),
]

SHARDS = 24


@pytest.fixture(scope="module")
def worker_environ() -> dict[str, str]:
    """A message held for a second is delivered again."""
    return {"FAULT_VISIBILITY_TIMEOUT_S": "1"}


def test_messages_that_come_again_while_their_shard_is_at_work_are_sent_away(
    deployment: Deployment, faults: FaultControl, history: OutcomeHistory
) -> None:
    # given: in each shard an item that takes six times the timeout
    images = deployment.images(SHARDS * ITEMS_PER_SHARD)
    images[::ITEMS_PER_SHARD, 0] = np.frombuffer(SLOW, np.uint8)

    # when
    job = deployment.client().submit(images, model="m:1")

    # then
    deployment.check_undisturbed(job, history, images=images)
    assert faults.leased_count(job.id) > 0
    assert SHARDS == job.status().attempts
