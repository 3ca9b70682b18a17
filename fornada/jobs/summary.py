"""Sum up the outcomes of a job into its end."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal, ShardOutcome
from fornada.records import now

EndState = Literal["SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"]


def summarise(
    manifest: JobManifest,
    outcomes: Iterable[ShardOutcome],
    state: EndState | None,
    reason: str | None,
) -> JobFinal:
    """The end of a job with these outcomes, in shard order, consumed one at a time."""
    tally = _Tally()
    digest = outcomes_digest(map(tally.count, outcomes))
    if state is None:
        state = "FAILED" if tally.dead else "SUCCEEDED"
        if tally.first_dead is not None:
            first = tally.first_dead
            reason = f"{len(tally.dead)} shards are dead; shard {first.shard}: {first.detail}"
    return JobFinal(
        job_id=manifest.job_id,
        state=state,
        reason=reason,
        started_at=tally.began_at,
        ended_at=now(),
        last_outcome_at=tally.last_outcome_at,
        shards_ok=len(tally.shards) - len(tally.dead),
        shards_dead=len(tally.dead),
        shards_missing=len(manifest.shards) - len(tally.shards),
        items_ok=tally.items_ok,
        items_failed=tally.items_failed,
        attempts=tally.attempts,
        outcome_ranges=to_ranges(tally.shards),
        dead_ranges=to_ranges(tally.dead),
        outcomes_sha256=digest,
    )


@dataclass
class _Tally:
    """Counts over the outcomes consumed so far."""

    shards: list[int] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    first_dead: ShardOutcome | None = None
    items_ok: int = 0
    items_failed: int = 0
    attempts: int = 0
    began_at: datetime | None = None
    last_outcome_at: datetime | None = None

    def count(self, outcome: ShardOutcome) -> ShardOutcome:
        self.shards.append(outcome.shard)
        is_dead = outcome.status == "dead"
        if is_dead:
            self.dead.append(outcome.shard)
            self.first_dead = self.first_dead or outcome
        failed = outcome.item_count if is_dead else len(outcome.item_errors)
        self.items_failed += failed
        self.items_ok += outcome.item_count - failed
        self.attempts += outcome.attempts
        began, committed = outcome.began_at, outcome.committed_at
        self.began_at = min(self.began_at or began, began)
        self.last_outcome_at = max(self.last_outcome_at or committed, committed)
        return outcome


def outcomes_digest(outcomes: Iterable[ShardOutcome]) -> str:
    """sha256 over a line `shard status data-sha256` per outcome, in the given order."""
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
