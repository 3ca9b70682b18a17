"""Events of worker processes, told by them and by their supervisor."""

import logging
from enum import StrEnum

from fornada.events import Event


class EndReason(StrEnum):
    """Why a worker process ended without being told to."""

    #: It ended itself for a restart: a deadline, a stalled consumer, a lack of memory.
    ASKED = "asked"
    FAILED = "failed"
    SIGNAL = "signal"
    #: The supervisor killed it.
    NO_LIFE = "no_life"


class WorkerStarted(Event, text="worker starts"):
    """The process is about to consume; `threads` is the number of cores that predict may use."""

    worker: str
    threads: int
    engine: str


class WorkerStopped(Event, text="worker stopped"):
    """The process has finished what it held."""

    worker: str


class WorkerEnded(Event, text="worker ended, starting another", level=logging.WARNING):
    """The supervisor saw a process end, and starts another."""

    slot: int
    reason: EndReason
    code: int
    lived_s: float


class WorkerKilled(Event, text="worker shows no life, killing it", level=logging.ERROR):
    """The supervisor kills a process that shows no life."""

    slot: int
    pid: int
    still_s: float
