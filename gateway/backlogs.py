"""The unfinished work of each queue, counted once for all who ask within a few seconds."""

from collections.abc import Mapping
from dataclasses import replace

from gateway.recent import Recent
from producer.client import Client
from producer.upkeep.backlog import Backlog

#: How old an answer is at most, which is ten times as old as it took to count.
_FRESH_S, _MOST_S = 2.0, 15.0


class Backlogs:
    """Counts unfinished work. Safe to share between threads: one of them counts for all."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._recent: Recent[Mapping[str, Backlog]] = Recent(fresh_s=_FRESH_S, most_s=_MOST_S)

    def by_queue(self) -> Mapping[str, Backlog]:
        """The work of each queue with open jobs, and of the deployment's own.

        Raises:
            BrokerError, StoreError: Redis or the store cannot be reached.
        """
        return self._recent.get("all", self._client.backlogs)

    def total(self) -> Backlog:
        """The work of all queues.

        Raises:
            BrokerError, StoreError: As `by_queue`.
        """
        return sum(self.by_queue().values(), start=Backlog())

    def of(self, queue: str) -> Backlog:
        """The work of a queue, which may have none; its calls are counted now.

        Raises:
            BrokerError, StoreError: As `by_queue`.
        """
        found = self.by_queue().get(queue, Backlog())
        return replace(found, calls=self._client.waiting_calls(queue))
