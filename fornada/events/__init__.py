"""What happened, told to listeners: the log, metrics, progress, tests.

An event is a frozen dataclass, and a listener is a function of one. Code that needs to know more
of a process adds a listener where the process is assembled, and nothing else.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import ClassVar, Literal, dataclass_transform

from fornada.logs import get_logger
from fornada.records import ModelPin

log = get_logger(__name__)


class Stage(StrEnum):
    """Where the time of a shard goes."""

    #: Fetch the input.
    FETCH = "fetch"
    #: Turn image files into items.
    DECODE = "decode"
    #: Wait for a predict call with room, and for the engine.
    WAIT = "wait"
    #: Predict calls with rows of the shard.
    PREDICT = "predict"
    #: Store the probabilities.
    PUT = "put"
    #: Write the outcome, or the end of the job that contains it.
    COMMIT = "commit"


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclass(frozen=True)
class Event:
    """Something that happened; a subclass is a frozen dataclass."""

    #: The log line; an event without one happens too often to be logged.
    text: ClassVar[str | None] = None
    level: ClassVar[int] = logging.INFO

    def __init_subclass__(cls, *, text: str | None = None, level: int | None = None) -> None:
        cls.text, cls.level = text or cls.text, level or cls.level
        dataclass(frozen=True, kw_only=True)(cls)

    @property
    def is_logged(self) -> bool:
        """Whether the log has a line about it."""
        return self.text is not None


# Shards and jobs.


class StageEnded(Event):
    """One shard, or several that share the work, went through a stage."""

    stage: Stage
    duration_s: float
    shard_count: int
    item_count: int
    #: How long ago it ended.
    ago_s: float = 0.0


class ShardFinished(Event, text="shard finished"):
    """The shard has its outcome."""

    job_id: str
    shard: int
    #: Its id, as in the outcome.
    attempt: str | None = None
    model: ModelPin
    status: Literal["ok", "dead"]
    item_count: int
    failed_count: int
    predict_s: float
    #: Rows of its predict calls, where its items have a fixed shape.
    tile_items: int | None = None
    #: Fetching its input, storing its outputs and writing its outcome; absent if they travelled
    #: with the job, and of a shard predicted in a process of its own.
    store_s: float | None = None
    #: CPU time, as in the outcome.
    cpu_s: float | None = None
    #: What it read.
    bytes_in: int = 0
    #: The outcome is all of its job, and committed as the job's end.
    ends_job: bool


class ClassesPredicted(Event):
    """What the outcome of a shard says of one output that names classes; after `ShardFinished`."""

    model: ModelPin
    output: str
    #: Its classes, two if it is binary, and the items of each. Both are empty of an output with
    #: more than `fornada.figures.predictions.MOST_CLASSES`, 100.
    classes: Sequence[str]
    class_counts: Sequence[int]
    #: Items by the probability of their class: a count for each of the upper ends in
    #: `fornada.figures.predictions.CONFIDENCE_ENDS`, of items above the end before.
    confidence_counts: Sequence[int]
    #: Sum of these probabilities; items without a result are in none of the counts.
    confidence_sum: float


class ShardDied(Event, text="shard is dead", level=logging.ERROR):
    """The shard will not be tried again."""

    job_id: str
    shard: int
    reason: str
    why: str


class ShardDeferred(Event, text="shard deferred", level=logging.WARNING):
    """The attempt failed; the reconciler enqueues the shard again."""

    job_id: str
    shard: int
    error: str
    #: Whether this counts as one of the shard's attempts.
    counted: bool
    #: How often the job's shards were deferred alike since the last line, which `None` has not.
    count: int | None = 1

    @property
    def is_logged(self) -> bool:
        """Not every one: while a server is down, all shards are deferred, again and again."""
        return self.count is not None


class ShardIsolated(Event, text="shard isolated", level=logging.WARNING):
    """The shard may have killed workers, and is predicted in a process of its own."""

    job_id: str
    shard: int


class BundleSplit(Event, text="bundle split"):
    """Small shards could not be computed together, and are computed one by one."""

    shard_count: int
    why: str


class MessageDropped(Event, text="message dropped", level=logging.ERROR):
    """A message asks for nothing that exists."""

    error: str
    job_id: str | None = None
    shard: int | None = None
    #: How many alike since the last line, this one too. `None`: others had one just now.
    count: int | None = 1

    @property
    def is_logged(self) -> bool:
        """Not every one: anyone may name thousands of jobs that do not exist."""
        return self.count is not None


class MessageQuarantined(Event, text="message quarantined", level=logging.WARNING):
    """The queue held something that is no message; it is in the quarantine of the queue."""

    queue: str
    reason: str
    size_bytes: int
    is_too_large: bool
    #: How many since the last line, this one too. `None`: it has no line, others had one just now.
    count: int | None = None

    @property
    def is_logged(self) -> bool:
        """Not every one: they may come by the thousand."""
        return self.count is not None


class JobEnded(Event, text="job ended"):
    """The job's end is stored."""

    job_id: str
    state: str
    reason: str | None = None
    #: Its only shard's outcome is its end.
    with_shard: bool = False

    @property
    def is_logged(self) -> bool:
        """Not beside the shard's line, which says as much: small jobs come by the thousand."""
        return not self.with_shard or self.state != "SUCCEEDED"


class JobUnreadable(Event, text="job cannot be read", level=logging.ERROR):
    """The job's manifest, its end or an outcome is none that this version can read."""

    job_id: str
    why: str


class JobHeldUp(Event, text="job is held up", level=logging.WARNING):
    """No process can go on with the job until an operator mends something."""

    job_id: str
    processes: str
    why: str
    more_times_since: int | None = None


class ShardsReenqueued(Event, text="enqueueing shards"):
    """The reconciler enqueues shards that were lost, or waited for room in the queue."""

    job_id: str
    shard_count: int
    #: How many of them had been enqueued or begun before.
    lost_count: int
    #: How many shards of the job wait for it.
    waiting_count: int


# Models and predict calls.


class ModelLoaded(Event, text="model loaded"):
    """The process loaded a model."""

    model: ModelPin
    #: The start of the artifact's digest.
    sha256: str
    engine: str
    tile_items: int
    duration_s: float


class ModelDeclined(Event, text="model declined", level=logging.WARNING):
    """The process may not or cannot load a model, and leaves its jobs to other workers."""

    model: ModelPin
    why: str
    retry_in_s: float


class ModelDropped(Event, text="model dropped"):
    """The process dropped a model to make room for another."""

    model: ModelPin


class ThreadsRaised(Event, text="more shards at a time"):
    """The process takes more shards at a time: one of the model waits long for the store."""

    model: ModelPin
    threads: int
    wait_s: float
    busy_s: float


class TileHalved(Event, text="calls halved for want of GPU memory", level=logging.WARNING):
    """A predict call did not fit into the memory of the GPU; from now on calls have fewer rows."""

    model: ModelPin
    #: Rows of a call from now on.
    tile_items: int
    why: str


class TileComputed(Event):
    """The engine answered one predict call."""

    model: ModelPin
    row_count: int
    #: Rows of every call; those beyond `row_count` are padding.
    tile_items: int
    duration_s: float


class CallsAnswered(Event):
    """Calls of `client.predict` for one model were answered together."""

    model: ModelPin
    call_count: int
    row_count: int
    duration_s: float
    #: Spans that wait for the answers.
    traceparents: tuple[str, ...] = ()


# The store.


class StoreRequested(Event):
    """The store answered a request, or did not."""

    operation: str
    duration_s: float
    #: The class of the error.
    error: str | None = None


#: Hears of each event, in the thread in which it happens; fast, and safe to call from many.
Listener = Callable[[Event], object]


class Events:
    """Passes events to listeners. One that raises is logged, and breaks nothing."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def tell(self, event: Event) -> None:
        """Pass the event to every listener."""
        for listener in self._listeners:
            try:
                listener(event)
            except MemoryError:
                raise
            except Exception:
                log.exception("listener failed", told=type(event).__name__)


def log_event(event: Event) -> None:
    """The listener that writes log lines."""
    if event.text is not None and event.is_logged:
        values = {f.name: _plain(getattr(event, f.name)) for f in fields(event)}
        said = {name: v for name, v in values.items() if v is not None and v is not False}
        log.log(event.level, event.text, **said)


def _plain(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    return value if value is None or isinstance(value, int | str) else str(value)


#: No listeners.
SILENT = Events()
#: Only the log.
LOGGED = Events(log_event)
