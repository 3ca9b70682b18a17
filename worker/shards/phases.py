"""The phases of a shard in a worker: found, begun, computed, committed."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from fornada.coordination.interface import Claim
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.shard_inputs import ShardInput
from fornada.logs import bound
from fornada.records import JOB_VERSION


def bound_to(*runs: Claim) -> AbstractContextManager[None]:
    """Have the log lines of a block say whose they are: the attempt's, or the job's of several."""
    job_ids = {run.job_id for run in runs}
    if len(runs) == 1:
        return bound(job_id=runs[0].job_id, shard=runs[0].shard, attempt=runs[0].attempt)
    return bound(job_id=job_ids.pop()) if len(job_ids) == 1 else nullcontext()


class ShardResult(StrEnum):
    """The result of a message."""

    #: An outcome was committed.
    OK = "ok"
    DEAD = "dead"
    #: There was nothing to do: the job is over, the shard is done, or another attempt holds it.
    ENDED = "ended"
    DONE = "done"
    LEASED = "leased"
    #: The job was ended.
    EXPIRED = "expired"
    FAILED = "failed"
    #: The shard is left to the reconciler.
    DEFERRED = "deferred"
    #: The same, without a lease: this worker cannot go on with the job, others may.
    GIVEN_BACK = "given back"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The job's manifest is known, and has the shard."""

    run: Claim
    manifest: JobManifest


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The attempt is counted and holds the lease."""

    run: Claim
    manifest: JobManifest
    #: 1 for the shard's first attempt.
    number: int
    began_at: datetime
    #: By the monotonic clock: until then no other attempt can hold the shard, nor did one before.
    sole_writer_until_s: float = 0.0

    @cached_property
    def spec(self) -> ShardInput:
        """What the shard reads; parsed once."""
        return self.manifest.shards[self.run.shard]

    @property
    def item_count(self) -> int:
        """How many items are in it."""
        return self.manifest.shards.item_counts[self.run.shard]

    @property
    def has_no_other_writer(self) -> bool:
        """Whether no other attempt can have committed an outcome."""
        return time.monotonic() < self.sole_writer_until_s

    def identity(self, worker: str) -> dict[str, Any]:
        """The fields that all outcomes of this attempt share."""
        ids = self.spec.item_ids if self.manifest.schema_version >= JOB_VERSION else None
        return {
            "schema_version": self.manifest.schema_version,
            "item_ids_sha256": ids.sha256 if ids else None,
            "job_id": self.run.job_id,
            "shard": self.run.shard,
            "attempt": self.run.attempt,
            "attempts": self.number,
            "model_sha256": self.manifest.model.sha256,
            "worker": worker,
            "began_at": self.began_at,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Computed:
    """There is an outcome to commit."""

    attempt: Begun
    outcome: ShardOutcome

    @property
    def is_all_of_its_job(self) -> bool:
        """Whether the job can have no other outcome, so that this one is its end."""
        attempt = self.attempt
        only = attempt.manifest.can_end_with_its_outcome
        return only and attempt.has_no_other_writer and self.outcome.status == "ok"


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    """The shard has an outcome: this attempt's, or that of one that came first."""

    attempt: Begun
    outcome: ShardOutcome
