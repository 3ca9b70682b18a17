"""Events reach every listener, and the log; a listener that fails breaks nothing."""

import logging

import pytest

from fornada.errors import StoreUnavailableError
from fornada.events import (
    Event,
    Events,
    JobEnded,
    ShardFinished,
    Stage,
    StageEnded,
    StoreRequested,
    log_event,
)
from fornada.records import ModelPin
from fornada.storage.memory import InMemoryObjectStore
from fornada.storage.reporting import ReportingStore
from fornada.testing import HookedObjectStore

ENDED = JobEnded(job_id="job", state="SUCCEEDED")
STAGE = StageEnded(stage=Stage.FETCH, duration_s=0.5, shard_count=1, item_count=3)


def finished(*, ends_job: bool) -> ShardFinished:
    return ShardFinished(
        job_id="job",
        shard=2,
        model=ModelPin(name="m", version=3, sha256="0" * 64),
        status="ok",
        item_count=3,
        failed_count=0,
        predict_s=0.123456,
        ends_job=ends_job,
    )


def test_every_listener_hears_every_event_though_one_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first: list[Event] = []
    last: list[Event] = []

    def fail(_event: Event) -> None:
        raise ZeroDivisionError

    events = Events(first.append, fail, last.append)
    events.tell(ENDED)
    events.tell(STAGE)

    assert [ENDED, STAGE] == first == last
    assert ["listener failed"] * 2 == [record.message for record in caplog.records]


def test_the_log_has_a_line_with_the_values_of_an_event(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    log_event(finished(ends_job=False))
    log_event(ENDED)

    shard, job = caplog.records
    assert ("shard finished", logging.INFO) == (shard.message, shard.levelno)
    assert ("job", 2, "m:3", 0.1235) == (shard.job_id, shard.shard, shard.model, shard.predict_s)
    assert ("job ended", "SUCCEEDED") == (job.message, job.state)
    assert not hasattr(job, "reason")


def test_what_happens_too_often_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    log_event(STAGE)
    log_event(JobEnded(job_id="job", state="SUCCEEDED", with_shard=True))

    assert [] == caplog.records


def test_a_small_job_has_one_line_and_another_if_it_does_not_succeed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    log_event(finished(ends_job=True))
    log_event(JobEnded(job_id="job", state="PARTIAL", with_shard=True))

    assert ["shard finished", "job ended"] == [record.message for record in caplog.records]


def test_a_store_tells_of_its_requests_and_their_errors() -> None:
    heard: list[Event] = []
    hooked = HookedObjectStore(InMemoryObjectStore())
    store = ReportingStore(hooked, events=Events(heard.append))
    store.put("a", b"1")
    assert b"1" == store.get("a").data

    def fail(_operation: str, _key: str) -> None:
        raise StoreUnavailableError("away")

    hooked.before = fail
    with pytest.raises(StoreUnavailableError):
        store.get("a")

    assert all(isinstance(event, StoreRequested) and event.duration_s >= 0 for event in heard)
    assert [("put", None), ("get", None), ("get", "StoreUnavailableError")] == [
        (event.operation, event.error) for event in heard
    ]
