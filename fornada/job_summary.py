"""What the outcomes of a job add up to: its end."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

from fornada.messages import JobFinal, JobManifest, ShardOutcome, now

EndState = Literal["SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"]


def summarise(
    manifest: JobManifest,
    outcomes: Sequence[ShardOutcome],
    state: EndState | None,
    reason: str | None,
) -> JobFinal:
    """How a job with these outcomes (in shard order) ends."""
    ok = [outcome for outcome in outcomes if outcome.status == "ok"]
    dead = [outcome for outcome in outcomes if outcome.status == "dead"]
    if state is None:
        state = "FAILED" if dead else "SUCCEEDED"
        if dead:
            first = dead[0]
            reason = f"{len(dead)} shards are dead; shard {first.shard}: {first.detail}"
    items_failed = sum(o.item_count for o in dead) + sum(len(o.item_errors) for o in ok)
    return JobFinal(
        job_id=manifest.job_id,
        state=state,
        reason=reason,
        started_at=min((o.began_at for o in outcomes), default=None),
        ended_at=now(),
        last_outcome_at=max((o.committed_at for o in outcomes), default=None),
        shards_ok=len(ok),
        shards_dead=len(dead),
        shards_missing=len(manifest.shards) - len(outcomes),
        items_ok=sum(o.item_count - len(o.item_errors) for o in ok),
        items_failed=items_failed,
        attempts=sum(o.attempts for o in outcomes),
        outcome_ranges=to_ranges(o.shard for o in outcomes),
        dead_ranges=to_ranges(o.shard for o in dead),
        outcomes_sha256=outcomes_digest(outcomes),
    )


def outcomes_digest(outcomes: Iterable[ShardOutcome]) -> str:
    """sha256 over a line `shard status data-sha256` for each outcome, in the order given."""
    digest = hashlib.sha256()
    for outcome in outcomes:
        data = outcome.data.sha256 if outcome.data else "-"
        digest.update(f"{outcome.shard} {outcome.status} {data}\n".encode())
    return digest.hexdigest()


def to_ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as inclusive ranges: 0, 1, 2, 5 → [[0, 2], [5, 5]]."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges


def from_ranges(ranges: Iterable[Sequence[int]]) -> list[int]:
    """The numbers of inclusive ranges: [[0, 2], [5, 5]] → 0, 1, 2, 5."""
    return [number for first, last in ranges for number in range(first, last + 1)]
