"""Events of queues, told by the process that hosts their reconcilers."""

from collections.abc import Mapping

from fornada.events import Event


class LeadershipNoted(Event):
    """The process began or ceased to lead a queue, or to stand by for it."""

    queue: str
    #: `None`: it hosts the queue's reconciler no more.
    leads: bool | None


class BacklogCounted(Event):
    """The leader of a queue counted its unfinished work."""

    queue: str
    open_job_count: int
    #: State, such as `queued` → shards and items.
    shard_counts: Mapping[str, int]
    item_counts: Mapping[str, int]
    #: Since the oldest of these jobs was submitted.
    oldest_s: float
