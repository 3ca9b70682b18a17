"""The interface of the channel that carries calls to workers, and answers back."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class CallChannel(Protocol):
    """Carries calls to workers, and answers back; both may be lost.

    Every method raises `BrokerError` if Redis cannot be reached.
    """

    def ask(self, queue: str, frames: Sequence[bytes]) -> None:
        """Send calls to the workers of a queue, all or none.

        Raises:
            BacklogFullError: Too many calls wait already; none of these was sent.
            BrokerError: The calls may have been sent or not.
        """

    def take(self, queue: str, *, count: int, timeout_s: float) -> tuple[list[bytes], int]:
        """Wait for a call; take up to `count`, with the time of Redis in ms."""

    def answer(self, frames: Mapping[str, Sequence[bytes]]) -> None:
        """Send answers, keyed by the client that waits for them."""

    def collect(self, client: str, *, count: int, timeout_s: float) -> list[bytes]:
        """Wait for an answer; take up to `count`."""

    def waiting(self, queue: str) -> int:
        """The number of calls that no worker has taken yet."""

    def time_ms(self) -> int:
        """The time in ms, by the clock of deadlines."""
