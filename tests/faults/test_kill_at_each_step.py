"""Worker processes killed at every step of the protocol, on real servers."""

import sys
from collections.abc import Callable

import pytest

from .checker import OutcomeHistory
from .deployment import STARTED_WITHIN_S, Deployment
from .fault_control import FaultControl

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(600),
]

SHARDS = 1500
#: As many as there are workers.
KILLS = 3

WaitUntil = Callable[..., None]


@pytest.mark.parametrize(
    "point",
    [
        "before-begin",
        "begun",
        "input-read",
        "predicted",
        "data-put",
        "before-commit",
        "committed",
        "marked-done",
        "before-ack",
    ],
)
def test_workers_killed_at_a_step_of_a_shard_lose_nothing(
    point: str, deployment: Deployment, faults: FaultControl, wait_until: WaitUntil
) -> None:
    # given
    history = OutcomeHistory(deployment.objects)
    # Before there is work: workers may be through a job before it is seen that they began.
    faults.arm(point)

    # when
    job = deployment.submit(SHARDS)
    for kills in range(1, KILLS + 1):
        wait_until(lambda: faults.kills(point) == kills, timeout_s=STARTED_WITHIN_S)  # noqa: B023 - called before the next
        if kills < KILLS:
            faults.arm(point)
        assert deployment.done_count(job) < SHARDS
        history.observe(job.id)

    # then
    deployment.check_undisturbed(job, history)
    assert KILLS == faults.kills(point)


@pytest.mark.parametrize(("point", "kills"), [("before-final", 2), ("final-put", 1)])
def test_workers_killed_while_they_end_a_job_lose_nothing(
    point: str,
    kills: int,
    deployment: Deployment,
    faults: FaultControl,
    wait_until: WaitUntil,
) -> None:
    # given
    history = OutcomeHistory(deployment.objects)
    faults.arm(point)
    job = deployment.submit(SHARDS)

    # when
    for count in range(1, kills + 1):
        wait_until(lambda: faults.kills(point) == count, timeout_s=STARTED_WITHIN_S)  # noqa: B023 - called before the next
        assert SHARDS == deployment.done_count(job)
        history.observe(job.id)
        if count < kills:
            faults.arm(point)

    # then
    deployment.check_undisturbed(job, history)
    assert kills == faults.kills(point)
    wait_until(lambda: job.id not in (deployment.coordination.open_jobs() or ()), timeout_s=60)
