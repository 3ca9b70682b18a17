"""Every metric. No label names a job, a shard or a caller: series do not grow with the work."""

from functools import partial

from fornada.events import Stage
from fornada.figures.predictions import CONFIDENCE_ENDS, MOST_CLASSES
from fornada.metrics.instrument import Instrument, Kind, Merging, Role

_counter = partial(Instrument, kind=Kind.COUNTER)
_gauge = partial(Instrument, kind=Kind.GAUGE)
_histogram = partial(Instrument, kind=Kind.HISTOGRAM)
_WORKER = frozenset({Role.WORKER})
_SUPERVISOR = frozenset({Role.SUPERVISOR})
_GATEWAY = frozenset({Role.GATEWAY})
#: Both host reconcilers and speak to the store.
_BOTH = _WORKER | _GATEWAY

_STORE_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STAGE_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_CALL_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LOAD_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_ROWS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)

# Shards and jobs.

ITEMS = _counter(
    "fornada_items_total",
    "Items of committed shards, by whether they have a result: ok or failed.",
    _WORKER,
    labels=("model", "version", "result"),
)
SHARDS = _counter(
    "fornada_shards_total",
    "Shards with an outcome: ok, or dead, which is tried no more.",
    _WORKER,
    labels=("outcome",),
    values=("ok", "dead"),
)
STAGE_SECONDS = _histogram(
    "fornada_shard_stage_seconds",
    "Where the time of a shard goes, or of small ones that are computed together.",
    _WORKER,
    labels=("stage",),
    values=tuple(Stage),
    buckets=_STAGE_S,
)
LAST_PROGRESS = _gauge(
    "fornada_last_progress_timestamp_seconds",
    "When a shard was last committed or a call answered; before the first, when the process began.",
    _WORKER,
    merging=Merging.MAX,
)
JOBS_ENDED = _counter(
    "fornada_jobs_ended_total",
    "Jobs that this process ended, by their state.",
    _BOTH,
    labels=("state",),
    values=("SUCCEEDED", "PARTIAL", "FAILED", "CANCELLED", "EXPIRED"),
)
REQUEUED = _counter(
    "fornada_requeued_total",
    "Shards that the reconciler enqueued: lost, with a worker or in Redis; or waiting for room in "
    "the queue.",
    _BOTH,
    labels=("reason",),
    values=("lost", "waiting"),
)
QUARANTINED = _counter(
    "fornada_quarantined_messages_total",
    "What the queue held and is no message: too_large, or not_a_message.",
    _WORKER,
    labels=("reason",),
    values=("too_large", "not_a_message"),
)

# The queue, told by the process that leads it.

LEADER = _gauge(
    "fornada_reconciler_leader",
    "1 where the process leads the queue, 0 where it stands by.",
    _BOTH,
    labels=("queue",),
)
JOBS_OPEN = _gauge(
    "fornada_jobs_open",
    "Jobs of the queue that have not ended.",
    _BOTH,
    labels=("queue",),
)
BACKLOG_ITEMS = _gauge(
    "fornada_backlog_items",
    "Items of shards without an outcome: waiting for room in the queue, queued, reserved by a "
    "worker, or running.",
    _BOTH,
    labels=("queue", "state"),
)
BACKLOG_SHARDS = _gauge(
    "fornada_backlog_shards",
    "Shards without an outcome, by the same states.",
    _BOTH,
    labels=("queue", "state"),
)
BACKLOG_OLDEST = _gauge(
    "fornada_backlog_oldest_seconds",
    "Since the oldest job with a shard without an outcome was submitted; 0 without one.",
    _BOTH,
    labels=("queue",),
)

# Models and predict calls.

PREDICT_SECONDS = _histogram(
    "fornada_predict_call_seconds",
    "One call of the engine.",
    _WORKER,
    labels=("model",),
    buckets=_CALL_S,
)
PREDICT_ROWS = _histogram(
    "fornada_predict_call_rows",
    "Rows of a call, without padding.",
    _WORKER,
    buckets=_ROWS,
)
PADDING_ROWS = _counter(
    "fornada_predict_padding_rows_total",
    "Rows that only fill calls.",
    _WORKER,
)
CALLS_HALVED = _counter(
    "fornada_predict_calls_halved_total",
    "How often calls of a model had fewer rows from then on, for want of device memory.",
    _WORKER,
)
MODEL_LOAD_SECONDS = _histogram(
    "fornada_model_load_seconds",
    "From the artifact in the store to a model that predicts.",
    _WORKER,
    buckets=_LOAD_S,
)
MODEL_INFO = _gauge(
    "fornada_model_info",
    "1 for each model in memory.",
    _WORKER,
    labels=("name", "version", "sha256", "engine"),
)
CONFIDENCE = _histogram(
    "fornada_prediction_confidence",
    "The probability of the class of each item, by outputs that name classes.",
    _WORKER,
    labels=("model", "version", "output"),
    buckets=CONFIDENCE_ENDS,
)
PREDICTED_CLASS = _counter(
    "fornada_predicted_class_total",
    f"Items of each class, of outputs with up to {MOST_CLASSES}; of labels that apply together, of "
    "each label.",
    _WORKER,
    labels=("model", "version", "output", "class"),
)

# The store.

STORE_REQUESTS = _counter(
    "fornada_store_requests_total",
    "Requests to the store by method; code is ok, or the class of the error.",
    _BOTH,
    labels=("op", "code"),
)
STORE_SECONDS = _histogram(
    "fornada_store_request_seconds",
    "How long a request to the store took, tries again included.",
    _BOTH,
    labels=("op",),
    buckets=_STORE_S,
)

# Processes.

WORKER_RESTARTS = _counter(
    "fornada_worker_restarts_total",
    "Worker processes that ended and were replaced: asked for a restart, failed, were ended by a "
    "signal, or were killed because they showed no life.",
    _SUPERVISOR,
    labels=("reason",),
    values=("asked", "failed", "signal", "no_life"),
)

# The gateway.

GATEWAY_REQUESTS = _counter(
    "fornada_gateway_requests_total",
    "Requests by the route's template and the status of the answer; other: no such route.",
    _GATEWAY,
    labels=("route", "code"),
)
GATEWAY_SECONDS = _histogram(
    "fornada_gateway_request_seconds",
    "Until the answer was sent; streams of events are left out.",
    _GATEWAY,
    labels=("route",),
    buckets=_REQUEST_S,
)
WEBHOOKS = _counter(
    "fornada_webhook_deliveries_total",
    "Calls of webhooks: delivered; retrying, to be called again; given_up; or gone, with a 410.",
    _GATEWAY,
    labels=("result",),
    values=("delivered", "retrying", "given_up", "gone"),
)

INSTRUMENTS = (
    ITEMS,
    SHARDS,
    STAGE_SECONDS,
    LAST_PROGRESS,
    JOBS_ENDED,
    REQUEUED,
    QUARANTINED,
    LEADER,
    JOBS_OPEN,
    BACKLOG_ITEMS,
    BACKLOG_SHARDS,
    BACKLOG_OLDEST,
    PREDICT_SECONDS,
    PREDICT_ROWS,
    PADDING_ROWS,
    CALLS_HALVED,
    MODEL_LOAD_SECONDS,
    MODEL_INFO,
    CONFIDENCE,
    PREDICTED_CLASS,
    STORE_REQUESTS,
    STORE_SECONDS,
    WORKER_RESTARTS,
    GATEWAY_REQUESTS,
    GATEWAY_SECONDS,
    WEBHOOKS,
)
#: The names that a query may use → its labels, and `le` of buckets.
NAMES = {
    series: (*instrument.labels, "le") if series.endswith("_bucket") else instrument.labels
    for instrument in INSTRUMENTS
    for series in instrument.series
}
