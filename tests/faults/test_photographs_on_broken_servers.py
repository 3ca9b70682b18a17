"""Photographs, some of them broken, while workers die and Redis forgets: each is answered once."""

import os
import random
import signal
import sys
from collections.abc import Callable

import pytest

from .rig.checker import OutcomeHistory
from .rig.deployment import STARTED_WITHIN_S, Deployment
from .rig.fault_control import FaultControl
from .rig.photographs import WAYS, Photographs

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(600),
]

#: Enough that a job is still running when the last fault strikes.
SHARDS = 500
#: Shards done before each fault.
_STRUCK_AT = range(10, 190, 30)

WaitUntil = Callable[..., None]


@pytest.fixture(scope="module")
def photographs(module_deployment: Deployment) -> Photographs:
    """Photographs for jobs of `SHARDS` shards."""
    return Photographs(module_deployment, shards=SHARDS)


@pytest.fixture
def slowly(deployment: Deployment, faults: FaultControl) -> None:
    """Work is slow enough for faults to strike it."""
    faults.slow_down()


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("way", WAYS)
def test_killed_workers_wiped_redis_and_cut_connections_lose_no_photograph(
    way: str,
    deployment: Deployment,
    history: OutcomeHistory,
    photographs: Photographs,
    wait_until: WaitUntil,
) -> None:
    # given
    chance = random.Random(5)

    def kill_a_worker() -> None:
        wait_until(deployment.worker_pids, timeout_s=STARTED_WITHIN_S)
        os.kill(chance.choice(sorted(deployment.worker_pids())), signal.SIGKILL)

    def cut_connections() -> None:
        deployment.redis.client_kill_filter(_type="normal", skipme=True)

    job = photographs.submit(way)

    # when
    strikes = [kill_a_worker, cut_connections, deployment.redis.flushall]
    for number, least in enumerate(_STRUCK_AT):
        wait_until(lambda least=least: deployment.done_count(job) >= least, timeout_s=120)
        assert deployment.done_count(job) < SHARDS
        strikes[number % len(strikes)]()
    history.observe(job.id)

    # then
    photographs.check_undisturbed(job, history)


@pytest.mark.parametrize("way", WAYS)
def test_photographs_that_redis_forgot_are_completed_once_by_submitting_again(
    way: str, deployment: Deployment, history: OutcomeHistory, photographs: Photographs
) -> None:
    # given: the broker forgets the job as soon as it is there
    key = f"again-{way}"
    first = photographs.submit(way, job_id=key)
    deployment.redis.flushall()

    # when
    again = photographs.submit(way, job_id=key)

    # then
    assert first.id == again.id
    photographs.check_undisturbed(again, history)
