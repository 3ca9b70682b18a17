"""The failed items of a job, some at a time: those of a large job are far apart."""

from collections.abc import Sequence
from typing import NamedTuple

from fornada.jobs.store import JobStore
from fornada.parallel import in_parallel
from fornada.ranges import from_ranges
from gateway.console.items.shard_results import ShardResults
from gateway.console.job_access import View
from producer.shard_reader import Found, ShardReader

#: Shards whose outcomes are read for one page.
_MOST_EXAMINED = 2048
_AT_A_TIME = 64


class FailedItem(NamedTuple):
    """An item without a result."""

    item: int
    item_id: str
    reason: str


class FailedPage(NamedTuple):
    """Some failed items, in order."""

    items: list[FailedItem]
    #: The item from which the next page looks on; `None` where there are no more.
    next_item: int | None


def failed_page(
    view: View,
    *,
    first_item: int,
    count: int,
    results: ShardResults,
    jobs: JobStore,
    most_shards: int = _MOST_EXAMINED,
) -> FailedPage:
    """Failed items from `first_item` on, at most `count`; fewer where many shards have none.

    Args:
        view: The job now.
        first_item: The number of the first item that may be among them.
        count: How many.
        results: Reads outcomes.
        jobs: Reads ids.
        most_shards: Shards whose outcomes are read.

    Raises:
        IntegrityError: Stored ids or outcomes are not those of the job.
        StoreError: The store cannot be reached.
    """
    manifest = view.manifest
    starts, reader = view.starts, ShardReader(manifest, jobs=jobs)
    ends = [*starts[1:], manifest.item_count]
    shards = [n for n in _with_failed(view) if ends[n] > first_item]
    found: list[FailedItem] = []

    def errors_of(shard: int) -> dict[int, str]:
        outcome = results.outcome(view, shard)
        return {} if outcome is None else reader.errors(Found(shard, outcome))

    for begin in range(0, min(len(shards), most_shards), _AT_A_TIME):
        some = shards[begin : begin + _AT_A_TIME]
        for shard, errors in zip(some, in_parallel(errors_of, some), strict=True):
            start = starts[shard]
            wanted = sorted(n for n in errors if start + n >= first_item)
            ids = reader.item_ids(shard) if wanted else []
            for position in wanted:
                if len(found) == count:
                    return FailedPage(found, start + position)
                found.append(FailedItem(start + position, ids[position], errors[position]))
    left = shards[most_shards:]
    return FailedPage(found, starts[left[0]] if left else None)


def _with_failed(view: View) -> Sequence[int]:
    """The shards that may have failed items: the dead alone, where all are theirs."""
    counts, final, progress = view.manifest.shards.item_counts, view.final, view.progress
    if final is not None:
        dead = from_ranges(final.dead_ranges)
        in_others = final.items_failed - sum(counts[n] for n in dead)
        return from_ranges(final.outcome_ranges) if in_others else dead
    if progress is None:
        return []
    some = progress.done if progress.item_errors or not progress.counted else progress.dead
    return sorted(n for n in some if n < len(counts))
