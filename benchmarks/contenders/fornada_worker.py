"""A Fornada worker as a contender's child, and when its jobs ended."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from benchmarks import contract
from producer import Client, Job
from producer.job_status import JobStatus

#: Far more than any job here takes; a contender that hangs is ended by the harness.
TIMEOUT_S = 600.0
PACKAGES = ["fornada", "celery", "boto3"]


class Worker:
    """`fornada worker --processes N` on the deployment that the environment names."""

    def __init__(self, pid: int, started_at: float) -> None:
        self.pid = pid
        self.started_at = started_at


@contextmanager
def worker(processes: int = 1) -> Iterator[Worker]:
    """Start it without waiting until it is up: jobs wait for it."""
    started_at = contract.now()
    command = ["-P", "-m", "fornada", "worker", "--processes", str(processes)]
    with contract.child(command) as process:
        yield Worker(process.pid, started_at)


def wait(jobs: Iterable[Job]) -> list[JobStatus]:
    """Wait for the jobs; return their final status.

    Raises:
        RuntimeError: One did not succeed.
    """
    statuses = [job.wait(timeout_s=TIMEOUT_S) for job in jobs]
    for status in statuses:
        if status.state != "SUCCEEDED":
            raise RuntimeError(f"job {status.job_id} ended {status.state}: {status.reason}")
    return statuses


def last_outcome_at(statuses: Iterable[JobStatus]) -> float:
    """When the last outcome of ended jobs was committed, which is when the clock stops."""
    return max(
        status.created_at.timestamp() + status.items / (status.items_per_s or 1)
        for status in statuses
    )


def client() -> Client:
    """A client of the deployment that the environment names."""
    return Client.from_env()
