"""Clocks that are set by an hour, on a real Valkey, while workers die: the work goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fornada.local import valkey
from producer.job import Job

from .rig.checker import OutcomeHistory
from .rig.deployment import END_WITHIN_S, Deployment, deployed
from .rig.faked_time import FakedClock, at_another_time, skip_without_faketime
from .rig.fault_control import FaultControl

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(600),
]

SHARDS = 400
HOUR_S = 3600


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> FakedClock:
    """Valkey's clock."""
    skip_without_faketime()
    return FakedClock(tmp_path_factory.mktemp("clock"), program=valkey.valkey_binary())


@pytest.fixture(scope="module")
def module_deployment(
    tmp_path_factory: pytest.TempPathFactory, faults: FaultControl, clock: FakedClock
) -> Iterator[Deployment]:
    """Servers and workers, with a Valkey whose clock can be set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(valkey, "valkey_binary", lambda: str(clock.wrapper))
        with deployed(tmp_path_factory.mktemp("deployment"), environ=faults.environ) as deployment:
            yield deployment


def test_a_job_ends_as_soon_though_redis_clock_is_set_and_workers_die(
    deployment: Deployment,
    faults: FaultControl,
    clock: FakedClock,
    history: OutcomeHistory,
    wait_until: Callable[..., None],
) -> None:
    took_s: dict[tuple[int, int], float] = {}
    for before_s, after_s in ((0, 0), (HOUR_S, 0), (0, HOUR_S), (0, -HOUR_S)):
        # given a job at work
        deployment.wait_until_ready(wait_until)
        clock.set(before_s)
        faults.slow_down()
        job = deployment.submit_held(SHARDS)
        began_at = time.monotonic()
        wait_until(lambda job=job: deployment.done_count(job) > SHARDS / 10, timeout_s=END_WITHIN_S)

        # when the leader and another worker die, and the clock is set
        leader = deployment.leader_pid()
        for pid in sorted(deployment.worker_pids(), key=lambda pid: pid != leader)[:2]:
            os.kill(pid, signal.SIGKILL)
        clock.set(after_s)

        # then it ends as it does when the clock is left alone
        _check(deployment, job, history, timeout_s=3 * took_s.get((0, 0), END_WITHIN_S / 3))
        took_s[before_s, after_s] = time.monotonic() - began_at
        faults.disarm()
    clock.set(0)
    print("seconds by clock before and after", took_s)  # noqa: T201 - measured


def test_a_client_whose_clock_is_ahead_purges_nothing_young_and_is_told(
    deployment: Deployment, tmp_path: Path
) -> None:
    job = deployment.submit(2)
    job.wait(timeout_s=END_WITHIN_S)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        fornada = Path(sys.executable).with_name("fornada")
        return subprocess.run(
            at_another_time("+10m", str(fornada), *arguments),
            env={**os.environ, **deployment.environ},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    purged = run("jobs", "purge", "--older-than", "5m", "--json")
    assert (0, []) == (purged.returncode, json.loads(purged.stdout)["purged"])
    assert "SUCCEEDED" == deployment.client().job(job.id).status().state

    findings = {
        each["check"]: each for each in json.loads(run("doctor", "--json").stdout)["findings"]
    }
    assert "warn" == findings["clocks"]["status"]
    assert "Redis -600." in findings["clocks"]["detail"]


def _check(deployment: Deployment, job: Job, history: OutcomeHistory, *, timeout_s: float) -> None:
    job.wait(timeout_s=timeout_s)
    deployment.check_undisturbed(job, history)
