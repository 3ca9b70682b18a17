"""Events become the samples that a scraper reads."""

import math
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from fornada.events import (
    CallsAnswered,
    ClassesPredicted,
    Event,
    JobEnded,
    MessageQuarantined,
    ModelDropped,
    ModelLoaded,
    ShardFinished,
    ShardsReenqueued,
    Stage,
    StageEnded,
    StoreRequested,
    TileComputed,
    TileHalved,
)
from fornada.events.processes import EndReason, WorkerEnded
from fornada.events.queues import BacklogCounted, LeadershipNoted
from fornada.events.serving import RequestAnswered, WebhookCalled
from fornada.figures.predictions import CONFIDENCE_ENDS
from fornada.metrics.exposition import Exposition, exposed
from fornada.metrics.instrument import Role
from fornada.metrics.instruments import INSTRUMENTS, NAMES
from fornada.metrics.recorder import Recorder
from fornada.records import ModelPin

from ....scraped import Scraped

PIN = ModelPin(name="digits", version=3, sha256="a" * 64)
BACKLOG = BacklogCounted(
    queue="q",
    open_job_count=2,
    shard_counts={"waiting": 1, "queued": 2, "reserved": 0, "running": 3},
    item_counts={"waiting": 10, "queued": 20, "reserved": 0, "running": 30},
    oldest_s=7.5,
)

Hear = Callable[..., Scraped]


@pytest.fixture(params=list(Role))
def role(request: pytest.FixtureRequest) -> Role:
    return Role(request.param)


def recorded(role: Role) -> Hear:
    """A recorder; called with events, it gives what is scraped after them."""
    registry = CollectorRegistry()
    recorder = Recorder(role, registry=registry)

    def after(*events: Event) -> Scraped:
        for event in events:
            recorder.hear(event)
        return Scraped(Exposition.of(exposed(registry.collect), accept="").text.decode())

    return after


def finished(*, status: str = "ok", failed_count: int = 0) -> ShardFinished:
    return ShardFinished(
        job_id="j",
        shard=0,
        model=PIN,
        status=status,
        item_count=10,
        failed_count=failed_count,
        predict_s=0.1,
        ends_job=False,
    )


def test_shards_count_with_their_items() -> None:
    after = recorded(Role.WORKER)

    found = after(finished(), finished(failed_count=4), finished(status="dead"))

    assert {"ok": 2, "dead": 1} == found.by("outcome", "fornada_shards_total")
    assert {"ok": 16, "failed": 14} == found.by(
        "result", "fornada_items_total", model="digits", version="3"
    )


def test_stages_and_calls_are_timed() -> None:
    after = recorded(Role.WORKER)
    tile = TileComputed(model=PIN, row_count=50, tile_items=64, duration_s=0.25)

    found = after(
        StageEnded(stage=Stage.WAIT, duration_s=0.5, shard_count=1, item_count=9),
        tile,
        tile,
        TileHalved(model=PIN, tile_items=32, why="out of memory"),
    )

    assert 0.5 == found.value("fornada_shard_stage_seconds_sum", stage="wait")
    assert set(Stage) == set(found.by("stage", "fornada_shard_stage_seconds_count"))
    assert (2, 0.5, 100, 28) == (
        found.value("fornada_predict_call_seconds_count", model="digits"),
        found.value("fornada_predict_call_seconds_sum", model="digits"),
        found.value("fornada_predict_call_rows_sum"),
        found.value("fornada_predict_padding_rows_total"),
    )
    assert 1 == found.value("fornada_predict_calls_halved_total")


def test_a_model_is_there_until_it_is_dropped() -> None:
    after = recorded(Role.WORKER)
    loaded = ModelLoaded(model=PIN, sha256="abc", engine="test 1", tile_items=64, duration_s=2.0)
    labels = {"name": "digits", "version": "3", "sha256": "abc", "engine": "test 1"}

    assert [(labels, 1.0)] == list(after(loaded).samples("fornada_model_info"))
    found = after(ModelDropped(model=PIN))
    assert [] == list(found.samples("fornada_model_info"))
    assert 2.0 == found.value("fornada_model_load_seconds_sum")


def test_predictions_count_by_class_and_confidence() -> None:
    after = recorded(Role.WORKER)
    counts = dict.fromkeys(CONFIDENCE_ENDS, 0) | {0.5: 2, 1.0: 3}
    event = ClassesPredicted(
        model=PIN,
        output="probabilities",
        classes=["cat", "dog", "owl"],
        class_counts=[4, 1, 0],
        confidence_counts=list(counts.values()),
        confidence_sum=3.9,
    )

    found = after(event, event)

    labels = {"model": "digits", "version": "3", "output": "probabilities"}
    expected = {"cat": 8, "dog": 2}
    assert expected == found.by("class", "fornada_predicted_class_total", **labels)
    buckets = found.by("le", "fornada_prediction_confidence_bucket", **labels)
    assert (0, 4, 4, 10, 10) == tuple(buckets[le] for le in ("0.4", "0.5", "0.999", "1.0", "+Inf"))
    assert 7.8 == found.value("fornada_prediction_confidence_sum", **labels)
    assert 10 == found.value("fornada_prediction_confidence_count", **labels)


@pytest.mark.parametrize("role", [Role.WORKER, Role.GATEWAY])
def test_only_the_leader_of_a_queue_tells_of_it(role: Role) -> None:
    after = recorded(role)
    lost = ShardsReenqueued(job_id="j", shard_count=5, lost_count=2, waiting_count=9)

    standing_by = after(LeadershipNoted(queue="q", leads=False), BACKLOG)
    assert [0.0] == [value for _, value in standing_by.samples("fornada_reconciler_leader")]
    assert [] == list(standing_by.samples("fornada_backlog_shards"))

    leading = after(LeadershipNoted(queue="q", leads=True), BACKLOG, lost)
    assert 1 == leading.value("fornada_reconciler_leader", queue="q")
    assert BACKLOG.shard_counts == leading.by("state", "fornada_backlog_shards", queue="q")
    assert BACKLOG.item_counts == leading.by("state", "fornada_backlog_items", queue="q")
    assert 2 == leading.value("fornada_jobs_open", queue="q")
    assert 7.5 == leading.value("fornada_backlog_oldest_seconds", queue="q")
    assert {"lost": 2, "waiting": 3} == leading.by("reason", "fornada_requeued_total")

    gone = after(LeadershipNoted(queue="q", leads=None))
    for name in NAMES:
        if name.startswith(("fornada_backlog", "fornada_reconciler", "fornada_jobs_open")):
            assert [] == list(gone.samples(name)), name


def test_ends_of_jobs_requests_to_the_store_and_the_quarantine_count_by_kind() -> None:
    found = recorded(Role.WORKER)(
        JobEnded(job_id="j", state="PARTIAL"),
        StoreRequested(operation="get", duration_s=0.5),
        StoreRequested(operation="get", duration_s=0.5, error="ObjectNotFoundError"),
        MessageQuarantined(queue="q", reason="why", size_bytes=3, is_too_large=False),
    )

    assert 1 == found.value("fornada_jobs_ended_total", state="PARTIAL")
    codes = found.by("code", "fornada_store_requests_total", op="get")
    assert {"ok": 1, "ObjectNotFoundError": 1} == codes
    assert 1.0 == found.value("fornada_store_request_seconds_sum", op="get")
    reasons = found.by("reason", "fornada_quarantined_messages_total")
    assert {"not_a_message": 1, "too_large": 0} == reasons


def test_calls_are_progress_too() -> None:
    after = recorded(Role.WORKER)
    began = after().value("fornada_last_progress_timestamp_seconds")

    answered = after(CallsAnswered(model=PIN, call_count=1, row_count=1, duration_s=0.1))

    assert 0 < began < answered.value("fornada_last_progress_timestamp_seconds") < math.inf


def test_a_supervisor_counts_restarts_by_their_reason() -> None:
    found = recorded(Role.SUPERVISOR)(
        WorkerEnded(slot=1, reason=EndReason.SIGNAL, code=-9, lived_s=1.0)
    )

    expected = {"asked": 0, "failed": 0, "signal": 1, "no_life": 0}
    assert expected == found.by("reason", "fornada_worker_restarts_total")


def test_a_gateway_counts_answers_and_times_all_but_streams() -> None:
    found = recorded(Role.GATEWAY)(
        RequestAnswered(route="/v1/jobs", status=200, duration_s=0.5),
        RequestAnswered(route="/v1/jobs/{job_id}/events", status=200, duration_s=None),
        WebhookCalled(result="delivered"),
    )

    routes = {"/v1/jobs": 1, "/v1/jobs/{job_id}/events": 1}
    assert routes == found.by("route", "fornada_gateway_requests_total", code="200")
    assert {"/v1/jobs": 0.5} == found.by("route", "fornada_gateway_request_seconds_sum")
    assert 1 == found.value("fornada_webhook_deliveries_total", result="delivered")


def test_a_process_exposes_the_metrics_of_its_role_alone(role: Role) -> None:
    found = recorded(role)()

    # The parser drops `_total` from the families of counters.
    expected = {i.name.removesuffix("_total") for i in INSTRUMENTS if role in i.roles}
    assert expected == set(found.families)
