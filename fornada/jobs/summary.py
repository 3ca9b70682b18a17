"""The end of a job: summed up from its outcomes, or decided in Redis."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fornada.errors import IntegrityError, MessageError
from fornada.figures.shards import JobFigures, fitting
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import EndState, JobFinal, ShardOutcome
from fornada.logs import get_logger
from fornada.ranges import to_ranges
from fornada.records import JOB_VERSION, now
from fornada.tensors import OutputTensor

log = get_logger(__name__)


def summarise(
    manifest: JobManifest,
    outcomes: Iterable[ShardOutcome],
    state: EndState | None,
    reason: str | None,
) -> JobFinal:
    """The end of a job with these outcomes, in shard order, consumed one at a time."""
    return _summarised(manifest, outcomes, state, reason, within=None)


def end_with(manifest: JobManifest, outcome: ShardOutcome) -> JobFinal:
    """The end of a job of one shard, with its outcome in it; the outcome has the figures."""
    return _summarised(manifest, [outcome], None, None, within=outcome)


def _summarised(
    manifest: JobManifest,
    outcomes: Iterable[ShardOutcome],
    state: EndState | None,
    reason: str | None,
    *,
    within: ShardOutcome | None,
) -> JobFinal:
    sums_figures = manifest.schema_version >= JOB_VERSION and within is None
    tally, digest = _Tally(gives=manifest.gives, sums_figures=sums_figures), OutcomesDigest()
    for outcome in outcomes:
        tally.count(outcome)
        digest.add(outcome)
    if state is None:
        state, reason = _end_of(manifest, tally)
    return JobFinal(
        schema_version=manifest.schema_version,
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
        orientations_ignored=tally.orientations_ignored or None,
        figures=tally.figures,
        outcome_ranges=to_ranges(tally.shards),
        dead_ranges=to_ranges(tally.dead),
        outcomes_sha256=digest.sha256,
        outcome=within,
    )


def misfit(outcome: ShardOutcome, item_count: int) -> str | None:
    """Why an outcome cannot be that of a shard of `item_count` items; `None` if it can.

    Whoever can write to the store may have written it.
    """
    of = f"the outcome of shard {outcome.shard} of job {outcome.job_id}"
    if outcome.item_count != item_count:
        items = f"is of {outcome.item_count} items, and the shard has {item_count}"
        return f"{of} {items}; submit it again"
    failed = {error.index for error in outcome.item_errors}
    if len(failed) < len(outcome.item_errors):
        return f"{of} has several errors of one item; submit it again"
    if failed and max(failed) >= item_count:
        return f"{of} has errors of items beyond its {item_count}; submit them again"
    return None


def _end_of(manifest: JobManifest, tally: "_Tally") -> tuple[EndState, str | None]:
    """The state of a job all of whose shards have outcomes, and why unless it is SUCCEEDED."""
    if manifest.schema_version < JOB_VERSION:
        if tally.first_dead is None:
            return "SUCCEEDED", None
        first = tally.first_dead
        return "FAILED", f"{len(tally.dead)} shards are dead; shard {first.shard}: {first.detail}"
    if not tally.items_failed:
        return "SUCCEEDED", None
    item_count = tally.items_ok + tally.items_failed
    fact = f"{tally.items_failed} of {item_count} items failed"
    most = manifest.max_failed_count
    if not tally.items_ok:
        whole = "the only item" if item_count == 1 else f"all {item_count} items"
        return "FAILED", f"{whole} failed; {tally.first_failed}"
    if most is not None and tally.items_failed > most:
        return "FAILED", f"{fact}, more than max_failed ({most}); {tally.first_failed}"
    return "PARTIAL", f"{fact}; {tally.first_failed}"


def _first_failed(outcome: ShardOutcome) -> str:
    if outcome.status == "dead":
        return f"shard {outcome.shard} is dead ({outcome.reason}): {outcome.detail}"
    first = min(outcome.item_errors, key=lambda error: error.index)
    return f"item {first.index} of shard {outcome.shard}: {first.reason}"


@dataclass
class _Tally:
    """Counts over the outcomes consumed so far."""

    gives: Sequence[OutputTensor]
    sums_figures: bool
    shards: list[int] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    first_dead: ShardOutcome | None = None
    #: The first failed item and its reason, in words.
    first_failed: str = ""
    items_ok: int = 0
    items_failed: int = 0
    attempts: int = 0
    orientations_ignored: int = 0
    figures: JobFigures | None = None
    began_at: datetime | None = None
    last_outcome_at: datetime | None = None

    def count(self, outcome: ShardOutcome) -> None:
        self.shards.append(outcome.shard)
        is_dead = outcome.status == "dead"
        if is_dead:
            self.dead.append(outcome.shard)
            self.first_dead = self.first_dead or outcome
        failed = outcome.item_count if is_dead else len(outcome.item_errors)
        if failed and not self.first_failed:
            self.first_failed = _first_failed(outcome)
        self.items_failed += failed
        self.items_ok += outcome.item_count - failed
        self.attempts += outcome.attempts
        self.orientations_ignored += outcome.orientations_ignored or 0
        if outcome.figures is not None and self.sums_figures:
            figures = fitting(outcome.figures, self.gives)
            self.figures = JobFigures.sum_of(self.figures, figures)
        began, committed = outcome.began_at, outcome.committed_at
        self.began_at = min(self.began_at or began, began)
        self.last_outcome_at = max(self.last_outcome_at or committed, committed)


class OutcomesDigest:
    """sha256 over a line per outcome, in the order added: `outcomes_sha256` of a job's end.

    `shard status data-sha256`; in version 3 also the digest of the items' ids, and the ranges of
    failed items as JSON.
    """

    def __init__(self, outcomes: Iterable[ShardOutcome] = ()) -> None:
        self._digest = hashlib.sha256()
        for outcome in outcomes:
            self.add(outcome)

    def add(self, outcome: ShardOutcome) -> None:
        """Add the line of the next outcome."""
        data = outcome.data.sha256 if outcome.data else "-"
        line = f"{outcome.shard} {outcome.status} {data}"
        if outcome.schema_version >= JOB_VERSION:
            failed = to_ranges(sorted(error.index for error in outcome.item_errors))
            written = json.dumps(failed, separators=(",", ":"))
            line += f" {outcome.item_ids_sha256 or '-'} {written}"
        self._digest.update(f"{line}\n".encode())

    @property
    def sha256(self) -> str:
        """The digest of what was added so far."""
        return self._digest.hexdigest()

    def check(self, final: JobFinal) -> None:
        """Check that the outcomes added are those that the job ended with.

        Raises:
            IntegrityError: They are not.
        """
        if self.sha256 != final.outcomes_sha256:
            raise IntegrityError(
                f"the outcomes of job {final.job_id} are not those that it ended with "
                f"(sha256 {self.sha256}, and {final.outcomes_sha256} in its end); they were "
                "changed, submit it again"
            )


def proposal(manifest: JobManifest, end: bytes) -> bytes:
    """What is proposed to Redis: a line that names the submission, and the end as JSON."""
    return manifest.created_at.isoformat().encode() + b"\n" + end


def decided_end(answer: bytes | None, manifest: JobManifest) -> JobFinal | None:
    """The end in `answer`, unless it cannot be this job's; then `None`.

    A job that was purged may be submitted again under its id. Whoever kept the signed end of the
    first can put it back into Redis.
    """
    if answer is None:
        return None
    submission, _, text = answer.partition(b"\n")
    try:
        end = JobFinal.from_json(text, where=f"end of job {manifest.job_id} in Redis")
    except MessageError as exc:
        log.warning("end in Redis not believed", job_id=manifest.job_id, why=str(exc))
        return None
    shard_count = end.shards_ok + end.shards_dead + end.shards_missing
    if end.job_id == manifest.job_id and shard_count == len(manifest.shards):
        # No time is compared: those of the end are a worker's, which may be wrong.
        if submission == manifest.created_at.isoformat().encode():
            return end
        why = f"it is of another submission of the id, ended {end.ended_at:%FT%TZ}"
    else:
        why = f"it is of job {end.job_id} with {shard_count} shards"
    log.warning("end in Redis not believed", job_id=manifest.job_id, why=why)
    return None
