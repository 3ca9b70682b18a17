"""Worker processes killed at every step of the protocol, on real servers."""

import sys
from collections.abc import Callable, Iterator

import pytest

from .rig.checker import OutcomeHistory
from .rig.deployment import END_WITHIN_S, STARTED_WITHIN_S, Deployment
from .rig.fault_control import FaultControl

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(600),
]

SHARDS = 1500
#: The deadly passages of a point that every shard passes at least once, fixed in advance: workers
#: may finish a job before a test on a busy machine can react.
DEADLY = (1, 100, 400)
#: Up to 32 of them travel in one message.
SMALL_JOBS = 600
DEADLY_BUNDLES = (1, 5, 10)

WaitUntil = Callable[..., None]


def each_kill(
    faults: FaultControl, point: str, count: int, wait_until: WaitUntil, *, killed_before: int
) -> Iterator[None]:
    """Yield after each of `count` kills at the point, beyond `killed_before`."""
    for kills in range(killed_before + 1, killed_before + count + 1):
        wait_until(lambda: faults.kills(point) >= kills, timeout_s=STARTED_WITHIN_S)  # noqa: B023 - called before the next
        yield


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
    point: str,
    deployment: Deployment,
    faults: FaultControl,
    history: OutcomeHistory,
    wait_until: WaitUntil,
) -> None:
    # given
    killed_before = faults.kills(point)
    faults.arm(point, *DEADLY)

    # when
    job = deployment.submit(SHARDS)
    for _ in each_kill(faults, point, len(DEADLY), wait_until, killed_before=killed_before):
        history.observe(job.id)

    # then
    deployment.check_undisturbed(job, history)
    assert len(DEADLY) == faults.kills(point) - killed_before


@pytest.mark.parametrize(("point", "deadly"), [("before-final", (1, 2)), ("final-put", (1,))])
def test_workers_killed_while_they_end_a_job_lose_nothing(
    point: str,
    deadly: tuple[int, ...],
    deployment: Deployment,
    faults: FaultControl,
    wait_until: WaitUntil,
) -> None:
    # given
    history = OutcomeHistory(deployment.objects)
    killed_before = faults.kills(point)
    faults.arm(point, *deadly)
    job = deployment.submit(SHARDS)

    # when
    for _ in each_kill(faults, point, len(deadly), wait_until, killed_before=killed_before):
        assert SHARDS == deployment.done_count(job)
        history.observe(job.id)

    # then
    deployment.check_undisturbed(job, history)
    assert len(deadly) == faults.kills(point) - killed_before
    wait_until(lambda: job.id not in (deployment.coordination.open_jobs() or ()), timeout_s=60)


@pytest.mark.parametrize(
    ("point", "deadly"),
    [
        ("before-begin", DEADLY_BUNDLES),
        # Passed once for each job.
        ("begun", (1, 150, 300)),
        ("predicted", DEADLY_BUNDLES),
        ("before-final", (1, 150, 300)),
        ("final-put", (1, 150, 300)),
        ("before-ack", DEADLY_BUNDLES),
    ],
)
def test_workers_killed_at_a_step_of_small_jobs_lose_none(
    point: str,
    deadly: tuple[int, ...],
    deployment: Deployment,
    faults: FaultControl,
    wait_until: WaitUntil,
) -> None:
    # given
    killed_before = faults.kills(point)
    faults.arm(point, *deadly)

    # when
    small = deployment.submit_small(SMALL_JOBS)
    wait_until(
        lambda: faults.kills(point) - killed_before == len(deadly), timeout_s=STARTED_WITHIN_S
    )

    # then: each job is right, and all who wrote its end wrote the same bytes
    noted = 0
    for job, images in small:
        assert "SUCCEEDED" == job.wait(timeout_s=END_WITHIN_S).state
        deployment.check(job, images=images)
        ends = faults.ends(job.id)
        assert set(ends) <= {deployment.final_bytes(job)}
        noted += bool(ends)
    # Not those whose process died between write and note.
    assert SMALL_JOBS - 100 < noted
    assert len(deadly) == faults.kills(point) - killed_before
