"""The job protocol on real servers and worker processes while parts of them fail."""

import os
import random
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from fornada.queue.celery_queue import CelerySender
from fornada.queue.message import ShardMessage
from producer.job import Job

from .rig.checker import OutcomeHistory
from .rig.deployment import STARTED_WITHIN_S, Deployment, SenderBy, repeatedly
from .rig.fault_control import FaultControl
from .rig.processes import is_stopped, lives

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(300),
]

#: Enough that a job is still running when a fault strikes.
SHARDS = 1000

#: Connections are cut at least this often before a job ends.
LEAST_CUTS = 5

WaitUntil = Callable[..., None]


@pytest.fixture
def slowly(deployment: Deployment, faults: FaultControl) -> None:
    """Work is slow enough for faults to strike it."""
    faults.slow_down()


class _ProducerDiedError(BaseException):
    """The producer dies here."""


def test_the_end_of_a_cancel_that_races_success_stands(
    deployment: Deployment, history: OutcomeHistory, wait_until: WaitUntil
) -> None:
    # given: jobs cancelled at every number of shards done
    shards = 5
    jobs = []
    for index in range(4 * (shards + 1)):
        job = deployment.submit(shards, job_id=f"cancelled-{index}")
        least = index % (shards + 1)
        wait_until(lambda job=job, least=least: deployment.done_count(job) >= least, timeout_s=60)
        status = job.cancel()
        assert status.state in ({"SUCCEEDED"} if least == shards else {"SUCCEEDED", "CANCELLED"})
        jobs.append(job)
    # On a store that ignores conditions, both sides of a race may write the end. When this job has
    # ended, the workers' side of the races is over.
    deployment.check_undisturbed(deployment.submit(shards), history)
    wait_until(deployment.is_idle)
    ends = [deployment.final_bytes(job) for job in jobs]
    states = [job.status().state for job in jobs]

    # when: late messages, and late cancels
    CelerySender.from_settings(deployment.settings).enqueue(
        [ShardMessage(job_id=job.id, shard=shard) for job in jobs for shard in range(shards)]
    )
    assert states == [job.cancel().state for job in jobs]
    wait_until(deployment.is_idle, timeout_s=60)

    # then
    assert ends == [deployment.final_bytes(job) for job in jobs]
    assert {"SUCCEEDED", "CANCELLED"} == set(states)
    for job in jobs:
        deployment.check(job)


@pytest.mark.parametrize("shards", [50, 200], ids=["inputs in the manifest", "inputs in objects"])
def test_messages_that_come_ten_times_and_in_any_order_count_once(
    shards: int, deployment: Deployment, history: OutcomeHistory
) -> None:
    # given
    real = CelerySender.from_settings(deployment.settings)
    chance = random.Random(5)

    def send_all_ten_times(messages: list[ShardMessage]) -> None:
        real.enqueue(chance.sample(messages * 10, len(messages) * 10))

    # when
    job = deployment.submit(shards, sender=SenderBy(send_all_ten_times))

    # then
    assert (shards == 50) == job.manifest.is_small
    history.observe(job.id)
    deployment.check_undisturbed(job, history)


@pytest.mark.parametrize("redis_knows", [True, False], ids=["listed as open", "unknown to Redis"])
def test_a_job_whose_producer_died_before_it_enqueued_anything_is_done(
    redis_knows: bool,  # noqa: FBT001 - a parameter of the test
    deployment: Deployment,
    history: OutcomeHistory,
) -> None:
    # given: the manifest is stored
    def die(_messages: list[ShardMessage]) -> None:
        if not redis_knows:
            deployment.redis.flushall()
        raise _ProducerDiedError

    # when
    job_id = f"orphan-{redis_knows}"
    with pytest.raises(_ProducerDiedError):
        deployment.submit(20, sender=SenderBy(die), job_id=job_id)

    # then
    deployment.check_undisturbed(deployment.client().job(job_id), history)


def test_workers_that_end_a_job_at_once_write_one_end(
    deployment: Deployment, faults: FaultControl, history: OutcomeHistory
) -> None:
    # given
    jobs: list[Job] = []

    def observe() -> None:
        for job in jobs[-10:]:
            history.observe(job.id)

    # when: jobs so small that all their shards end in the same moment
    with repeatedly(observe, interval_s=0.05):
        for _ in range(100):
            jobs.append(deployment.submit(2))  # noqa: PERF401 - looked at while it grows
        for job in jobs:
            deployment.check_undisturbed(job, history)

    # then: every reader, at any time, read the same end
    ended = {job.id: set(faults.ends(job.id)) for job in jobs}
    assert {job.id: {deployment.final_bytes(job)} for job in jobs} == ended


@pytest.mark.usefixtures("slowly")
def test_a_redis_that_is_full_for_a_while_loses_nothing(
    deployment: Deployment, history: OutcomeHistory, wait_until: WaitUntil
) -> None:
    # given
    job = deployment.submit_held(SHARDS)
    wait_until(lambda: deployment.done_count(job) >= 20, timeout_s=60)
    refusals = _refusals(deployment.redis)

    # when
    deployment.redis.config_set("maxmemory", 1)
    try:
        wait_until(lambda: _refusals(deployment.redis) >= refusals + 20, timeout_s=60)
        history.observe(job.id)
        assert deployment.done_count(job) < SHARDS
    finally:
        deployment.redis.config_set("maxmemory", 0)

    # then
    deployment.check_undisturbed(job, history)


@pytest.mark.usefixtures("slowly")
def test_connections_killed_every_200_ms_lose_nothing(
    deployment: Deployment, history: OutcomeHistory
) -> None:
    # given
    killed: list[int] = []
    job = deployment.submit_held(SHARDS)

    # when
    with repeatedly(
        lambda: killed.append(deployment.redis.client_kill_filter(_type="normal", skipme=True)),
        interval_s=0.2,
    ):
        # then
        deployment.check_undisturbed(job, history)
    assert len([count for count in killed if count]) >= LEAST_CUTS


@pytest.mark.usefixtures("slowly")
def test_a_redis_emptied_in_the_midst_of_a_job_loses_nothing(
    deployment: Deployment, history: OutcomeHistory, wait_until: WaitUntil
) -> None:
    # given
    job = deployment.submit_held(SHARDS)
    for least in (20, 60, 100):
        wait_until(lambda least=least: deployment.done_count(job) >= least, timeout_s=60)

        # when
        deployment.redis.flushall()

        assert deployment.done_count(job) < SHARDS

    # then
    history.observe(job.id)
    deployment.check_undisturbed(job, history)


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("keep_data", [True, False], ids=["append-only file", "all forgotten"])
def test_a_redis_killed_in_the_midst_of_a_job_loses_nothing(
    keep_data: bool,  # noqa: FBT001 - a parameter of the test
    deployment: Deployment,
    history: OutcomeHistory,
    wait_until: WaitUntil,
) -> None:
    # given
    job = deployment.submit_held(SHARDS)
    wait_until(lambda: deployment.done_count(job) >= 20, timeout_s=60)

    # when
    killed = deployment.kill_valkey()
    wait_until(lambda: not lives(killed))
    deployment.start_valkey(keep_data=keep_data)

    # then
    assert deployment.done_count(job) < SHARDS
    history.observe(job.id)
    deployment.check_undisturbed(job, history)


def test_messages_popped_by_idle_workers_that_were_killed_come_again(
    deployment: Deployment, history: OutcomeHistory, wait_until: WaitUntil
) -> None:
    # given: stopped workers, which wait in BRPOP and cannot record what it gives them
    shards = 12
    workers = deployment.worker_pids()
    leader = deployment.leader_pid()
    held_before = deployment.redis.hlen("fornada:unacked")
    real = CelerySender.from_settings(deployment.settings)

    def freeze_and_send(messages: list[ShardMessage]) -> None:
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(is_stopped(pid) for pid in workers))
        real.enqueue(messages)

    try:
        job = deployment.submit(shards, sender=SenderBy(freeze_and_send))
        # Two have left Redis: at least one went to a worker that dies now.
        assert deployment.redis.llen(deployment.queue) <= shards - 2
        assert held_before == deployment.redis.hlen("fornada:unacked")

        # when
        for pid in workers - {leader}:
            os.kill(pid, signal.SIGKILL)
    finally:
        for pid in workers & deployment.worker_pids():
            os.kill(pid, signal.SIGCONT)

    # then
    deployment.check_undisturbed(job, history)


@pytest.mark.usefixtures("slowly")
def test_workers_killed_again_and_again_lose_nothing(
    deployment: Deployment, history: OutcomeHistory, wait_until: WaitUntil
) -> None:
    # given
    chance = random.Random(11)
    shards = 2 * SHARDS
    job = deployment.submit_held(shards)
    for least in sorted(chance.sample(range(1, SHARDS), 6)):
        wait_until(lambda least=least: deployment.done_count(job) >= least, timeout_s=60)
        wait_until(deployment.worker_pids, timeout_s=STARTED_WITHIN_S)
        assert deployment.done_count(job) < shards

        # when
        os.kill(chance.choice(sorted(deployment.worker_pids())), signal.SIGKILL)

    # then
    history.observe(job.id)
    deployment.check_undisturbed(job, history)


def _refusals(client: Any) -> int:
    """Writes that the server refused because it was full."""
    return int(client.info("errorstats").get("errorstat_OOM", {"count": 0})["count"])
