"""Producers that submit under one key at the same moment."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from fornada.errors import JobConflictError
from producer.client import Client
from producer.job import Job

Answer = Job | JobConflictError


def submit_at_once(
    clients: list[Client], images: list[NDArray[np.uint8]], *, key: str
) -> list[Answer]:
    """Submit each client's images under the key, all at once; return what each got."""
    start = threading.Barrier(len(clients))

    def submit(client: Client, own: NDArray[np.uint8]) -> Answer:
        start.wait()
        try:
            return client.submit(own, model="m:1", idempotency_key=key)
        except JobConflictError as exc:
            return exc

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(submit, clients, images))


def check_one_job_each(answers: list[list[Answer]]) -> None:
    """Check that in each round one got a job, and the other an error with a remedy."""
    twice = [number for number, pair in enumerate(answers) if all(isinstance(a, Job) for a in pair)]
    assert [] == twice, f"in {len(twice)} of {len(answers)} rounds both were told that they won"
    refusals = [a for pair in answers for a in pair if isinstance(a, JobConflictError)]
    assert len(answers) == len(refusals)
    assert all("use another idempotency key" in str(refusal) for refusal in refusals)
