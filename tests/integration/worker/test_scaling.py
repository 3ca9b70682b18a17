"""Workers come and go: from none at all, and while they work."""

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from fornada import keys
from fornada.coordination.interface import Claim
from fornada.jobs.outcome import JobState
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.queue.celery_queue import CelerySender
from fornada.queue.envelope import open_envelope
from gateway.reconcilers import HostedReconcilers
from producer.client import Client
from producer.job import Job

from .conftest import START_S

Deploy = Callable[..., Any]
Wait = Callable[..., None]
Worker = subprocess.Popen[bytes]
SOON = {"lease_s": 1.0, "reconcile_interval_s": 0.5, "requeue_after_s": 1.0}
#: Longer than any test: a message that nobody returned is missed for good.
NEVER = {"requeue_after_s": 3600.0}
SHARDS = 240


@contextmanager
def _gateway(deployment: Any) -> Iterator[None]:
    """What a gateway does for jobs."""
    hosted = HostedReconcilers.from_settings(
        deployment.settings,
        objects=deployment.objects,
        manifests=Manifests(jobs=JobStore(objects=deployment.objects)),
    )
    hosted.start()
    try:
        yield
    finally:
        hosted.stop()


def _queued(deployment: Any) -> set[int]:
    """The shards with a message in the queue."""
    with deployment.redis() as server:
        found = server.lrange(deployment.settings.queue, 0, -1)
    return {message.shard for raw in found for message in open_envelope(raw.encode()).messages}


def test_without_workers_jobs_wait_and_the_gateway_requeues_what_a_dead_one_held(
    deploy: Deploy, images: np.ndarray, wait_until: Wait
) -> None:
    deployment, start = deploy(max_inline_bytes=0, **SOON)
    client = deployment.client
    with _gateway(deployment):
        job = client.submit(images[:12], model="m", items_per_shard=1)
        assert (JobState.QUEUED, 12) == (job.status().state, client.backlog().work)
        # when a worker that took all messages and began a shard is dead
        with deployment.redis() as server:
            server.delete(deployment.settings.queue)
        client.coordination.begin([Claim(job.id, 0, "dead")], lease_s=1.0)

        wait_until(lambda: _queued(deployment) == set(range(12)))
        assert 12 == client.backlog().work
        start()
        assert deployment.is_right(job, images[:12])
    assert 0 == client.backlog().work


@pytest.mark.slow
def test_what_the_last_worker_held_when_it_was_killed_is_queued_again(
    deploy: Deploy, images: np.ndarray, wait_until: Wait
) -> None:
    deployment, start = deploy(delay_s=0.05, worker_threads=1, max_inline_bytes=0, **SOON)
    client, sender = deployment.client, CelerySender.from_settings(deployment.settings)

    def held() -> set[int]:
        """Shards that workers took and did not finish, with the only worker stopped."""
        [pid] = deployment.worker_pids()
        os.kill(pid, signal.SIGSTOP)
        taken = {message.shard for message in sender.reserved()}
        unfinished = taken - client._jobs.outcome_shards(job.id)
        if not unfinished:
            os.kill(pid, signal.SIGCONT)
        return unfinished

    with _gateway(deployment):
        job = client.submit(images[:12], model="m", items_per_shard=1)
        supervisor = start()
        wait_until(lambda: job.status().shards_done >= 2, START_S)
        unfinished: set[int] = set()
        wait_until(lambda: unfinished.update(held()) or unfinished)
        supervisor.kill()
        os.kill(*deployment.worker_pids(), signal.SIGKILL)
        supervisor.wait()

        # then what it held is queued again, and all that is left counts as work
        wait_until(lambda: unfinished <= _queued(deployment))
        assert 12 - job.status().shards_done == client.backlog().work
        # until another worker has done it
        start()
        assert deployment.is_right(job, images[:12])
    assert 0 == client.backlog().work


def _submitted(client: Client, images: np.ndarray) -> Job:
    return client.submit(images[:SHARDS], model="m", items_per_shard=1)


def _ended(workers: list[Worker]) -> set[int]:
    """Tell workers to end; return their exit codes."""
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    return {worker.wait(START_S) for worker in workers}


def _check_nothing_was_repeated(deployment: Any, job: Job) -> None:
    """Every shard was begun once, and has one result."""
    assert len(job.manifest.shards) == job.status().attempts
    stored = deployment.objects.list(f"{keys.JobKeys(job.id).prefix}data/")
    assert len(job.manifest.shards) == sum(1 for _ in stored)


@pytest.mark.slow
@pytest.mark.parametrize("share", [1, 2, 3])
def test_a_share_of_the_fleet_ends_under_load_and_nothing_is_lost_or_repeated(
    share: int, deploy: Deploy, images: np.ndarray, wait_until: Wait
) -> None:
    deployment, start = deploy(delay_s=0.05, worker_threads=2, max_inline_bytes=0, **NEVER)
    client = deployment.client
    workers = [start() for _ in range(3)]
    wait_until(lambda: 3 == len(client.workers()), START_S)
    job = _submitted(client, images)
    with ThreadPoolExecutor(4) as callers:
        calls = [
            callers.submit(client.predict, images[n : n + 1], model="m", timeout_s=START_S)
            for n in range(40)
        ]
        wait_until(lambda: job.status().shards_done >= 20, START_S)

        assert {0} == _ended(workers[:share])
        if share == len(workers):
            assert job.status().shards_done < SHARDS
            start()

        answered = np.concatenate([call.result() for call in calls])
    assert deployment.is_right(job, images[:SHARDS])
    _check_nothing_was_repeated(deployment, job)
    assert deployment.model.predict(images[:40]).tobytes() == answered.tobytes()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_fleet_that_is_scaled_up_and_down_for_minutes_loses_and_repeats_nothing(
    deploy: Deploy, images: np.ndarray, wait_until: Wait
) -> None:
    deployment, start = deploy(delay_s=0.05, worker_threads=2, max_inline_bytes=0, **NEVER)
    client, chance = deployment.client, random.Random(5)
    workers: list[Worker] = []
    jobs: list[Job] = []
    with _gateway(deployment):
        for _ in range(12):
            jobs.append(_submitted(client, images))
            workers += [start() for _ in range(chance.randint(1, 4 - len(workers)))]
            done = sum(job.status().shards_done for job in jobs)
            wait_until(
                lambda done=done: sum(job.status().shards_done for job in jobs) >= done + 40,
                START_S,
            )
            chance.shuffle(workers)
            leaving = chance.randint(1, len(workers))
            # One that was started a moment ago has no handler yet, and no process below it.
            assert _ended(workers[:leaving]) <= {0, -signal.SIGTERM}
            del workers[:leaving]
        start()
        for job in jobs:
            assert deployment.is_right(job, images[:SHARDS])
            _check_nothing_was_repeated(deployment, job)
    assert 0 == client.backlog().work
