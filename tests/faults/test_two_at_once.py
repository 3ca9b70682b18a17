"""Races on real servers: two producers with one key, two workers that end one job."""

import sys
from collections.abc import Callable

import pytest

from producer.job import Job

from .checker import OutcomeHistory
from .deployment import (
    END_WITHIN_S,
    ITEMS_PER_SHARD,
    Deployment,
    repeatedly,
)
from .fault_control import FaultControl
from .rivals import check_one_job_each, submit_at_once

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(600),
]

ROUNDS = 60
SHARDS = 2
SMALL_JOBS = 100

WaitUntil = Callable[..., None]


def test_two_producers_with_one_key_and_the_same_images_get_one_job(
    deployment: Deployment,
) -> None:
    # given
    images = deployment.images(SHARDS * ITEMS_PER_SHARD)
    clients = [deployment.client(), deployment.client()]
    for number in range(ROUNDS):
        # when
        answers = submit_at_once(clients, [images, images], key=f"same-{number}")

        # then
        jobs = [answer for answer in answers if isinstance(answer, Job)]
        assert [f"same-{number}"] * 2 == [job.id for job in jobs], answers
        deployment.check_undisturbed(jobs[0], OutcomeHistory(deployment.objects))


def test_of_two_producers_with_one_key_and_different_images_one_wins(
    deployment: Deployment,
) -> None:
    # given
    images = deployment.images(SHARDS * ITEMS_PER_SHARD)
    both = [images, 255 - images]
    clients = [deployment.client(), deployment.client()]

    # when
    answers = [submit_at_once(clients, both, key=f"different-{number}") for number in range(ROUNDS)]

    # then: the job has the images of the one that was not refused
    check_one_job_each(answers)
    for pair in answers:
        for job, own in zip(pair, both, strict=True):
            if isinstance(job, Job):
                assert "SUCCEEDED" == job.wait(timeout_s=END_WITHIN_S).state
                deployment.check(job, images=own)


def test_workers_that_end_a_job_at_once_write_one_end(
    deployment: Deployment, faults: FaultControl
) -> None:
    # given
    history = OutcomeHistory(deployment.objects)
    jobs: list[Job] = []

    def observe() -> None:
        for job in jobs[-10:]:
            history.observe(job.id)

    # when: jobs so small that all their shards end in the same moment
    with repeatedly(observe, interval_s=0.05):
        for _ in range(SMALL_JOBS):
            jobs.append(deployment.submit(SHARDS))  # noqa: PERF401 - looked at while it grows
        states = {job.wait(timeout_s=END_WITHIN_S).state for job in jobs}

    # then: every reader, at any time, read the same end
    assert {"SUCCEEDED"} == states
    for job in jobs:
        history.observe(job.id)
        deployment.check(job)
    history.check()
    ended = {job.id: set(faults.ends(job.id)) for job in jobs}
    assert {job.id: {deployment.final_bytes(job)} for job in jobs} == ended
