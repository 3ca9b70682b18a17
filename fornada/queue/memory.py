"""A queue for tests that records its messages."""

from collections.abc import Iterable, Mapping

from fornada.queue.message import ShardMessage


class RecordingSender:
    """A `Sender` that appends to `messages`, and adds to `traces`."""

    def __init__(self) -> None:
        self.messages: list[ShardMessage] = []
        self.traces: dict[str, str] = {}

    def enqueue(
        self,
        messages: Iterable[ShardMessage],
        *,
        together: int = 1,  # noqa: ARG002 - nothing is sent
        traces: Mapping[str, str] | None = None,
    ) -> None:
        """As `Sender`."""
        self.traces |= traces or {}
        self.messages.extend(messages)

    def reserved(self) -> set[ShardMessage]:
        """Nothing: there is no worker."""
        return set()
