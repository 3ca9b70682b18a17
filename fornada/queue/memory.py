"""A queue for tests that records its messages."""

from collections.abc import Iterable

from fornada.queue.message import ShardMessage


class RecordingSender:
    """A `Sender` that appends to `messages`."""

    def __init__(self) -> None:
        self.messages: list[ShardMessage] = []

    def enqueue(self, messages: Iterable[ShardMessage], *, together: int = 1) -> None:  # noqa: ARG002 - nothing is sent
        """As `Sender`."""
        self.messages.extend(messages)

    def reserved(self) -> set[ShardMessage]:
        """Nothing: there is no worker."""
        return set()
