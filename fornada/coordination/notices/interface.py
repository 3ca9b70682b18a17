"""Notices of what happens to jobs, told to whoever listens: hints that it is time to look."""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

#: A job's progress is told at most once in this time.
TOLD_EVERY_S = 0.2


class Notice(StrEnum):
    """What a listener hears of a job. Nothing is known by it: whoever hears looks."""

    #: Notices arrive from now on, for the first time or again; those before may be lost.
    LISTENING = "listening"
    #: Shards of the job began or ended.
    PROGRESS = "progress"
    #: The job's end is stored.
    ENDED = "ended"
    #: No notices arrive until the next `LISTENING`.
    CUT_OFF = "cut off"


#: What may be told of a job; the others are about the connection.
TOLD = frozenset({Notice.PROGRESS, Notice.ENDED})

#: Hears of one job, in a thread that serves all listeners: quick, and never raises.
Hear = Callable[[Notice], object]


class Notices(Protocol):
    """Hears what happens to jobs. A notice may be lost, late, repeated or invented by others."""

    def listen(self, job_id: str, hear: Hear) -> Callable[[], None]:
        """Call `hear` with each notice of the job, `LISTENING` or `CUT_OFF` first.

        Returns:
            A function that ends it.
        """
