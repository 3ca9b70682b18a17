"""Calls without a job, and their answers: the channel between callers and workers."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class CallChannel(Protocol):
    """Carries calls to workers, and answers back."""

    def ask(self, queue: str, frames: Sequence[bytes]) -> None:
        """Hand in calls.

        Raises:
            BacklogFullError: Too many wait already; none of these was taken.
            BrokerError: Redis cannot be reached; they may have been taken, and may not.
        """

    def take(self, queue: str, *, count: int, timeout_s: float) -> tuple[list[bytes], int]:
        """Take at most `count` calls, and the time of Redis in ms; waits for the first one.

        Raises:
            BrokerError: Redis cannot be reached.
        """

    def answer(self, frames: Mapping[str, Sequence[bytes]]) -> None:
        """Hand in answers by the client that waits for them.

        Raises:
            BrokerError: Redis cannot be reached.
        """

    def collect(self, client: str, *, count: int, timeout_s: float) -> list[bytes]:
        """Take at most `count` answers; waits for the first one.

        Raises:
            BrokerError: Redis cannot be reached.
        """

    def waiting(self, queue: str) -> int:
        """How many calls no worker has taken yet.

        Raises:
            BrokerError: Redis cannot be reached.
        """

    def time_ms(self) -> int:
        """Now, by the clock that deadlines are measured with.

        Raises:
            BrokerError: Redis cannot be reached.
        """
