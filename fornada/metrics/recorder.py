"""The listener that counts what happens."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

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
    StageEnded,
    StoreRequested,
    TileComputed,
    TileHalved,
)
from fornada.events.processes import WorkerEnded
from fornada.events.queues import BacklogCounted, LeadershipNoted
from fornada.events.serving import RequestAnswered, WebhookCalled
from fornada.metrics import instruments as to
from fornada.metrics.exposition import GONE
from fornada.metrics.instrument import Role
from fornada.metrics.meters import Family, Meters

_Hearers = Mapping[type[Event], Callable[[Any], object]]


class Recorder:
    """Counts what happens in a process. Safe to share between threads.

    Args:
        role: The process.
        registry: Gets its metrics.
    """

    def __init__(self, role: Role, *, registry: CollectorRegistry) -> None:
        meters = Meters(role, registry)
        groups: list[_Hearers] = []
        if role is Role.SUPERVISOR:
            groups = [_Processes(meters).hearers]
        else:
            groups = [_Store(meters).hearers, _Queues(meters).hearers]
        if role is Role.WORKER:
            groups += [_Shards(meters).hearers, _Models(meters).hearers]
        elif role is Role.GATEWAY:
            groups.append(_Gateway(meters).hearers)
        self._hearers = {event: hear for group in groups for event, hear in group.items()}

    def hear(self, event: Event) -> None:
        """Count what happened."""
        hear = self._hearers.get(type(event))
        if hear is not None:
            hear(event)


class _Shards:
    """Shards, and calls without a job."""

    def __init__(self, meters: Meters) -> None:
        self._items = Family(meters.counter(to.ITEMS))
        self._shards = Family(meters.counter(to.SHARDS))
        self._stages = Family(meters.histogram(to.STAGE_SECONDS))
        self._quarantined = Family(meters.counter(to.QUARANTINED))
        self._last_progress = meters.gauge(to.LAST_PROGRESS)
        (known,) = self._last_progress.collect()
        if not known.samples[0].value:
            # Else it would be 1970's: no worker, and none that ever did anything.
            self._last_progress.set_to_current_time()
        self.hearers: _Hearers = {
            StageEnded: self._stage_ended,
            ShardFinished: self._shard_finished,
            CallsAnswered: self._calls_answered,
            MessageQuarantined: self._quarantine,
        }

    def _stage_ended(self, event: StageEnded) -> None:
        self._stages.of(event.stage.value).observe(event.duration_s)

    def _shard_finished(self, event: ShardFinished) -> None:
        self._shards.of(event.status).inc()
        failed_count = event.item_count if event.status == "dead" else event.failed_count
        for result, count in (
            ("ok", event.item_count - failed_count),
            ("failed", failed_count),
        ):
            # At 0 too, or a share of failed items would be no number until one fails.
            self._items.of(event.model.name, str(event.model.version), result).inc(count)
        self._last_progress.set(time.time())

    def _calls_answered(self, _event: CallsAnswered) -> None:
        self._last_progress.set(time.time())

    def _quarantine(self, event: MessageQuarantined) -> None:
        self._quarantined.of("too_large" if event.is_too_large else "not_a_message").inc()


class _Models:
    """Models and predict calls."""

    def __init__(self, meters: Meters) -> None:
        self._seconds = Family(meters.histogram(to.PREDICT_SECONDS))
        self._rows = meters.histogram(to.PREDICT_ROWS)
        self._padding = meters.counter(to.PADDING_ROWS)
        self._halved = meters.counter(to.CALLS_HALVED)
        self._loads = meters.histogram(to.MODEL_LOAD_SECONDS)
        self._info = Family(meters.gauge(to.MODEL_INFO))
        self._confidence = Family(meters.histogram(to.CONFIDENCE))
        self._classes = Family(meters.counter(to.PREDICTED_CLASS))
        #: Digest of a model in memory → its labels.
        self._loaded: dict[str, tuple[str, ...]] = {}
        self.hearers: _Hearers = {
            TileComputed: self._tile_computed,
            TileHalved: lambda _event: self._halved.inc(),
            ModelLoaded: self._model_loaded,
            ModelDropped: self._model_dropped,
            ClassesPredicted: self._classes_predicted,
        }

    def _tile_computed(self, event: TileComputed) -> None:
        self._seconds.of(event.model.name).observe(event.duration_s)
        self._rows.observe(event.row_count)
        padding_count = event.tile_items - event.row_count
        if padding_count:
            self._padding.inc(padding_count)

    def _model_loaded(self, event: ModelLoaded) -> None:
        model = event.model
        labels = (model.name, str(model.version), event.sha256, event.engine)
        self._loaded[model.sha256] = labels
        self._info.of(*labels).set(1)
        self._loads.observe(event.duration_s)

    def _model_dropped(self, event: ModelDropped) -> None:
        labels = self._loaded.pop(event.model.sha256, None)
        if labels is not None:
            self._info.of(*labels).set(GONE)

    def _classes_predicted(self, event: ClassesPredicted) -> None:
        labels = (event.model.name, str(event.model.version), event.output)
        self._confidence.of(*labels).observe_counts(
            event.confidence_counts, total=event.confidence_sum
        )
        for name, count in zip(event.classes, event.class_counts, strict=True):
            if count:
                self._classes.of(*labels, name).inc(count)


class _Store:
    """Requests to the store."""

    def __init__(self, meters: Meters) -> None:
        self._requests = Family(meters.counter(to.STORE_REQUESTS))
        self._seconds = Family(meters.histogram(to.STORE_SECONDS))
        self.hearers: _Hearers = {StoreRequested: self._requested}

    def _requested(self, event: StoreRequested) -> None:
        self._requests.of(event.operation, event.error or "ok").inc()
        self._seconds.of(event.operation).observe(event.duration_s)


class _Queues:
    """Queues whose reconcilers the process hosts, and jobs that it ends."""

    def __init__(self, meters: Meters) -> None:
        self._ended = Family(meters.counter(to.JOBS_ENDED))
        self._requeued = Family(meters.counter(to.REQUEUED))
        self._leader = Family(meters.gauge(to.LEADER))
        self._jobs_open = Family(meters.gauge(to.JOBS_OPEN))
        self._oldest = Family(meters.gauge(to.BACKLOG_OLDEST))
        self._items = Family(meters.gauge(to.BACKLOG_ITEMS))
        self._shards = Family(meters.gauge(to.BACKLOG_SHARDS))
        #: Queue that this process leads → states that it counted.
        self._led: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        self.hearers: _Hearers = {
            JobEnded: self._job_ended,
            ShardsReenqueued: self._requeue,
            LeadershipNoted: self._leadership_noted,
            BacklogCounted: self._backlog_counted,
        }

    def _job_ended(self, event: JobEnded) -> None:
        self._ended.of(event.state).inc()

    def _requeue(self, event: ShardsReenqueued) -> None:
        for reason, count in (
            ("lost", event.lost_count),
            ("waiting", event.shard_count - event.lost_count),
        ):
            if count:
                self._requeued.of(reason).inc(count)

    def _leadership_noted(self, event: LeadershipNoted) -> None:
        queue = event.queue
        with self._lock:
            self._leader.of(queue).set(GONE if event.leads is None else event.leads)
            if event.leads:
                self._led.setdefault(queue, set())
                return
            # Its successor counts.
            states = self._led.pop(queue, set())
            for state in states:
                self._items.of(queue, state).set(GONE)
                self._shards.of(queue, state).set(GONE)
            if states:
                self._jobs_open.of(queue).set(GONE)
                self._oldest.of(queue).set(GONE)

    def _backlog_counted(self, event: BacklogCounted) -> None:
        queue = event.queue
        with self._lock:
            if queue not in self._led:
                # It was counted while another took over.
                return
            self._led[queue].update(event.shard_counts)
            self._jobs_open.of(queue).set(event.open_job_count)
            self._oldest.of(queue).set(event.oldest_s)
            for state, count in event.shard_counts.items():
                self._shards.of(queue, state).set(count)
            for state, count in event.item_counts.items():
                self._items.of(queue, state).set(count)


class _Processes:
    """Worker processes, as their supervisor sees them."""

    def __init__(self, meters: Meters) -> None:
        self._restarts = Family(meters.counter(to.WORKER_RESTARTS))
        self.hearers: _Hearers = {WorkerEnded: self._ended}

    def _ended(self, event: WorkerEnded) -> None:
        self._restarts.of(event.reason.value).inc()


class _Gateway:
    """Requests over HTTP, and webhooks."""

    def __init__(self, meters: Meters) -> None:
        self._requests = Family(meters.counter(to.GATEWAY_REQUESTS))
        self._seconds = Family(meters.histogram(to.GATEWAY_SECONDS))
        self._webhooks = Family(meters.counter(to.WEBHOOKS))
        self.hearers: _Hearers = {
            RequestAnswered: self._answered,
            WebhookCalled: self._called,
        }

    def _answered(self, event: RequestAnswered) -> None:
        self._requests.of(event.route, str(event.status)).inc()
        if event.duration_s is not None:
            self._seconds.of(event.route).observe(event.duration_s)

    def _called(self, event: WebhookCalled) -> None:
        self._webhooks.of(event.result).inc()
