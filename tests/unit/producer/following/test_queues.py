"""Why an open job waits."""

from collections.abc import Sequence

import numpy as np
import pytest

from fornada.coordination.interface import Progress
from fornada.coordination.worker_board.interface import WorkerReport
from fornada.errors import BrokerError
from fornada.records import now
from fornada.testing import InMemoryCoordination
from producer.following.queues import Queues
from producer.job import Job
from producer.testing import in_memory_client

ENQUEUED = Progress(done=frozenset(), enqueued={0: 0.0}, counted=True, at=now())
NOT_ENQUEUED = Progress(done=frozenset(), counted=True, at=now())


class _Coordination(InMemoryCoordination):
    """Has as many messages in its queues as it is told."""

    messages = 0

    def queue_length(self, queue: str) -> int:
        return self.messages


@pytest.fixture
def coordination() -> _Coordination:
    return _Coordination()


@pytest.fixture
def job() -> Job:
    with in_memory_client(model="m", item_shape=[2], classes=["a", "b"]) as client:
        return client.submit(np.zeros((1, 2), np.uint8), model="m")


def _worker(coordination: _Coordination, name: str = "w", queue: str = "fornada") -> None:
    coordination.report(
        WorkerReport(
            name=name,
            version="1",
            queue=queue,
            engine="keras",
            models=[],
            threads=1,
            shards_running=0,
            items_done=0,
            items_per_s=0,
            started_at=now(),
        )
    )


def _reason(coordination: _Coordination, job: Job, progress: Progress) -> str | None:
    return Queues(coordination).status(job.manifest, progress).reason


def test_a_job_whose_queue_has_no_worker_says_how_to_start_one(
    coordination: _Coordination, job: Job
) -> None:
    said = "no worker of queue 'fornada' runs; start one: `fornada worker`"
    assert said == _reason(coordination, job, ENQUEUED)

    _worker(coordination, queue="gpu")
    assert said == _reason(coordination, job, ENQUEUED)

    _worker(coordination)
    assert _reason(coordination, job, ENQUEUED) is None


def test_a_job_of_another_queue_names_the_setting(coordination: _Coordination, job: Job) -> None:
    _worker(coordination)
    manifest = job.manifest.model_copy(update={"queue": "gpu"})

    status = Queues(coordination).status(manifest, ENQUEUED)

    assert (
        "no worker of queue 'gpu' runs; start one with FORNADA_QUEUE=gpu: `fornada worker`"
        == status.reason
    )


@pytest.mark.parametrize(
    ("progress", "messages", "said"),
    [
        (NOT_ENQUEUED, 7, "waits for room in queue 'fornada', which is full with 7 messages"),
        (ENQUEUED, 7, "waits its turn: 2 workers take 7 messages of queue 'fornada'"),
        (ENQUEUED, 1, None),
        (NOT_ENQUEUED, 0, None),
    ],
)
def test_a_job_behind_others_says_so(
    coordination: _Coordination, job: Job, progress: Progress, messages: int, said: str | None
) -> None:
    _worker(coordination)
    _worker(coordination, "another")
    coordination.messages = messages

    assert said == _reason(coordination, job, progress)


def test_what_keeps_workers_from_a_job_comes_first_and_without_redis_nothing_is_said(
    coordination: _Coordination, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_up = Progress(done=frozenset(), held_up={"w": "not for you"})
    assert "no worker takes it; w: not for you" == _reason(coordination, job, held_up)

    def refuse() -> Sequence[WorkerReport]:
        raise BrokerError("no Redis")

    monkeypatch.setattr(coordination, "workers", refuse)
    assert _reason(coordination, job, ENQUEUED) is None


def test_a_client_asks_redis_for_workers_once_for_many_jobs(
    coordination: _Coordination, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(coordination, "workers", lambda: asked.append(1) or [])
    seconds = iter([0.0, 0.5, 2.0])
    queues = Queues(coordination, clock=lambda: next(seconds))

    for _ in range(3):
        queues.status(job.manifest, ENQUEUED)

    assert 2 == len(asked)
