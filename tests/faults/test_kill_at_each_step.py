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

SHARDS = 400
#: A worker is killed at each of these, once in every job.
DONE_AT_KILLS = (10, 60, 110)

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
    job = deployment.submit(SHARDS)
    for kills, least in enumerate(DONE_AT_KILLS, start=1):
        wait_until(lambda: deployment.done_count(job) >= least, timeout_s=STARTED_WITHIN_S)  # noqa: B023 - called before the next

        # when
        faults.arm(point)
        wait_until(lambda: faults.kills(point) == kills, timeout_s=STARTED_WITHIN_S)  # noqa: B023 - called before the next

        assert deployment.done_count(job) < SHARDS
        history.observe(job.id)

    # then
    deployment.check_undisturbed(job, history)
    assert len(DONE_AT_KILLS) == faults.kills(point)


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
