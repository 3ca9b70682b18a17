"""The reconciler and small jobs: thousands with nothing wrong cost next to nothing."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from fornada.jobs.ids import message_for
from fornada.jobs.upkeep.reconciler import Reconciler
from fornada.testing import TEST_KEYS

ONE = np.ones((1, 3), np.float32)


@pytest.fixture
def reconciler(world: Any) -> Reconciler:
    """It has gone round once, and so knows of all jobs."""
    reconciler: Reconciler = world.new_reconciler()
    reconciler.round()
    return reconciler


def test_small_jobs_that_wait_cost_no_request(world: Any, reconciler: Reconciler) -> None:
    for _ in range(50):
        world.submit_small([ONE])

    assert {} == world.requests(reconciler.round)
    assert [] == world.queue


def test_a_small_job_whose_message_was_lost_is_enqueued_whole(
    world: Any, reconciler: Reconciler
) -> None:
    job = world.submit_small([ONE])
    world.advance(61)

    reconciler.round()
    reconciler.round()

    assert [message_for(job, 0, deployment_keys=TEST_KEYS)] == world.queue
    assert "ok" == world.service.run(world.queue.pop())
    assert "SUCCEEDED" == world.jobs.final(job.job_id).state


def test_small_jobs_without_room_in_the_queue_are_enqueued_as_it_drains(world: Any) -> None:
    # given more jobs than the window has room for, none of them enqueued
    reconciler = world.new_reconciler(enqueue_window=3)
    reconciler.round()
    jobs = [world.submit_small([ONE]) for _ in range(5)]
    for job in jobs:
        world.coordination._memory.jobs[job.job_id].enqueued.clear()

    reconciler.round()
    assert 3 == len(world.queue)
    # and the manifests of those that wait are not read
    assert {} == world.requests(reconciler.round)
    while world.queue:
        world.service.run(world.queue.pop())
    reconciler.round()

    assert 2 == len(world.queue)


def test_a_small_job_that_was_never_written_is_given_up(world: Any, reconciler: Reconciler) -> None:
    job = world.submit_small([ONE])
    world.jobs.delete(job.job_id)

    for _ in range(3):
        world.advance(3000)
        world.monotonic_s += 3000
        reconciler.round()

    assert [] == world.queue
    assert set() == world.coordination.open_jobs()


def test_a_request_to_cancel_a_small_job_is_seen(world: Any, reconciler: Reconciler) -> None:
    job = world.submit_small([ONE])
    world.jobs.request_cancel(job.job_id, "wrong images")

    for _ in range(30):
        reconciler.round()

    final = world.jobs.final(job.job_id)
    assert final is not None
    assert ("CANCELLED", "wrong images") == (final.state, final.reason)


def test_a_small_job_expires(world: Any, reconciler: Reconciler) -> None:
    at = world.coordination.server_time()
    job = world.submit_small([ONE], deadline=at + timedelta(seconds=5))
    world.advance(6)

    reconciler.round()

    assert "EXPIRED" == world.jobs.final(job.job_id).state


def test_a_small_job_whose_end_redis_missed_is_closed(world: Any, reconciler: Reconciler) -> None:
    job = world.submit_small([ONE])
    world.jobs.finish(job, "CANCELLED", "enough")

    for _ in range(3):
        world.advance(61)
        reconciler.round()
        while world.queue:
            world.service.run(world.queue.pop())

    assert set() == world.coordination.open_jobs()


def test_small_jobs_are_restored_one_look_after_redis_was_wiped(
    world: Any, reconciler: Reconciler
) -> None:
    jobs = [world.submit_small([ONE]) for _ in range(3)]
    world.coordination.flush()
    world.queue.clear()

    reconciler.round()

    assert {job.job_id for job in jobs} == {message.job_id for message in world.queue}
    assert {} == world.requests(reconciler.round)
