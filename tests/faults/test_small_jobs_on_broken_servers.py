"""Small jobs, whose inputs travel in messages, while parts of the real servers fail."""

import random
import sys
from collections.abc import Callable

import pytest

from fornada.queue.celery_queue import CelerySender
from fornada.queue.message import ShardMessage
from producer.job import Job

from .rig.checker import OutcomeHistory
from .rig.deployment import END_WITHIN_S, WORKERS, Deployment, Images, SenderBy, repeatedly
from .rig.fault_control import FaultControl
from .rig.processes import is_stopped, lives

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(600),
]

#: Enough messages for every worker, at up to 32 jobs each.
SMALL_JOBS = 600
SOME_JOBS = 100
#: Connections are cut at least this often before the jobs end.
LEAST_CUTS = 5

WaitUntil = Callable[..., None]


@pytest.mark.parametrize("point", ["begun", "predicted", "before-final", "final-put"])
def test_a_redis_emptied_while_all_workers_are_at_a_step_loses_none(
    point: str,
    deployment: Deployment,
    faults: FaultControl,
    history: OutcomeHistory,
    wait_until: WaitUntil,
) -> None:
    # given
    workers = deployment.worker_pids()
    faults.stop_at(point, processes=WORKERS)
    small = deployment.submit_small(SMALL_JOBS)
    try:
        wait_until(lambda: all(is_stopped(pid) for pid in workers), timeout_s=60)
        assert faults.ended_count({job.id for job, _ in small}) < SMALL_JOBS

        # when
        deployment.redis.flushall()
    finally:
        deployment.go_on(workers)

    # then
    _check_undisturbed(deployment, small, history)


@pytest.mark.parametrize("keep_data", [True, False], ids=["append-only file", "all forgotten"])
def test_a_redis_killed_while_all_workers_are_at_a_step_loses_none(
    keep_data: bool,  # noqa: FBT001 - a parameter of the test
    deployment: Deployment,
    faults: FaultControl,
    history: OutcomeHistory,
    wait_until: WaitUntil,
) -> None:
    # given
    workers = deployment.worker_pids()
    faults.stop_at("predicted", processes=WORKERS)
    small = deployment.submit_small(SMALL_JOBS)
    try:
        wait_until(lambda: all(is_stopped(pid) for pid in workers), timeout_s=60)

        # when
        killed = deployment.kill_valkey()
        wait_until(lambda: not lives(killed))
    finally:
        deployment.go_on(workers)
    deployment.start_valkey(keep_data=keep_data)

    # then
    _check_undisturbed(deployment, small, history)


def test_connections_killed_every_200_ms_lose_none(
    deployment: Deployment, history: OutcomeHistory
) -> None:
    # given
    killed: list[int] = []
    with deployment.held():
        small = deployment.submit_small(SMALL_JOBS)

    # when
    with repeatedly(
        lambda: killed.append(deployment.redis.client_kill_filter(_type="normal", skipme=True)),
        interval_s=0.2,
    ):
        # then
        _check_undisturbed(deployment, small, history)
    assert len([count for count in killed if count]) >= LEAST_CUTS


def test_bundles_that_come_ten_times_and_in_any_order_count_once(
    deployment: Deployment, faults: FaultControl, history: OutcomeHistory
) -> None:
    # given: different bundles each time, some with the same message twice
    real = CelerySender.from_settings(deployment.settings)
    chance = random.Random(7)

    def send_all_ten_times(messages: list[ShardMessage]) -> None:
        real.enqueue(chance.sample(messages * 10, len(messages) * 10), together=32)

    # when
    small = deployment.submit_small(SOME_JOBS, sender=SenderBy(send_all_ten_times))

    # then
    _check_undisturbed(deployment, small, history)
    assert [1] * SOME_JOBS == [len(set(faults.ends(job.id))) for job, _ in small]


def test_the_end_of_a_cancel_that_races_success_stands(
    deployment: Deployment, wait_until: WaitUntil
) -> None:
    # given: the first half is cancelled before any begins, the second while workers run them
    with deployment.held():
        small = deployment.submit_small(SOME_JOBS)
        jobs = [job for job, _ in small]
        early = {job.cancel().state for job in jobs[: SOME_JOBS // 2]}
    late = {job.cancel().state for job in jobs[: SOME_JOBS // 2 - 1 : -1]}
    assert {"CANCELLED"} == early
    assert late <= {"CANCELLED", "SUCCEEDED"}
    # Where the store decides nothing, both sides of a race may write.
    wait_until(deployment.is_idle, timeout_s=60)
    ends = [deployment.final_bytes(job) for job in jobs]

    # when: late messages, and late cancels
    CelerySender.from_settings(deployment.settings).enqueue(
        [ShardMessage(job_id=job.id, shard=0) for job in jobs], together=32
    )
    for job in jobs:
        job.cancel()
    wait_until(deployment.is_idle, timeout_s=60)

    # then
    assert ends == [deployment.final_bytes(job) for job in jobs]
    for job, images in small:
        deployment.check(job, images=images)


def _check_undisturbed(
    deployment: Deployment, small: list[tuple[Job, Images]], history: OutcomeHistory
) -> None:
    """Check that each job ends SUCCEEDED with its own bytes, and that its end never changes."""
    for job, images in small:
        status = job.wait(timeout_s=END_WITHIN_S)
        assert "SUCCEEDED" == status.state, status
        history.observe(job.id)
        deployment.check(job, images=images)
    for job, _ in small:
        history.observe(job.id)
    history.check()
