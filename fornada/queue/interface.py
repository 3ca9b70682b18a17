"""The queue that producers and the reconciler put shard messages on."""

from collections.abc import Iterable
from typing import Protocol

from fornada.queue.message import ShardMessage


class Sender(Protocol):
    """Puts messages on the queue."""

    def enqueue(self, messages: Iterable[ShardMessage], *, together: int = 1) -> None:
        """Enqueue `messages`, in order.

        Args:
            messages: One a shard.
            together: So many of them at most become one message of the queue, a bundle.

        Raises:
            BrokerError: Some may be on the queue, and some not.
        """

    def reserved(self) -> set[ShardMessage]:
        """What workers have taken from the queue and not acknowledged, begun or not.

        Raises:
            BrokerError: The queue cannot be reached.
        """
