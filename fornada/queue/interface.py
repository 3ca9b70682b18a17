"""The queue of shard messages, as producers and the reconciler see it."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from fornada.queue.message import ShardMessage


class Sender(Protocol):
    """Puts messages on the queue."""

    def enqueue(
        self,
        messages: Iterable[ShardMessage],
        *,
        together: int = 1,
        traces: Mapping[str, str] | None = None,
    ) -> None:
        """Enqueue `messages`, in order.

        Args:
            messages: One for each shard.
            together: Messages in a bundle, which is one message of the queue, at most.
            traces: Job → the `traceparent` of the span that submitted it.

        Raises:
            BrokerError: Some may be enqueued, others not.
        """

    def reserved(self) -> set[ShardMessage]:
        """Messages that workers have taken and not acknowledged, begun or not.

        Raises:
            BrokerError: The queue cannot be reached.
        """
