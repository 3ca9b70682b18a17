"""A queue that only records its messages, for tests."""

from collections.abc import Iterable

from fornada.queue.message import ShardMessage


class RecordingSender:
    """A `Sender` that keeps what it is given in `messages`."""

    def __init__(self) -> None:
        self.messages: list[ShardMessage] = []

    def enqueue(self, messages: Iterable[ShardMessage], *, together: int = 1) -> None:  # noqa: ARG002 - none travel
        """Keep `messages`."""
        self.messages.extend(messages)

    def reserved(self) -> set[ShardMessage]:
        """Nothing: nobody takes them."""
        return set()
