"""The records that end a shard or a job: `outcome/*.json`, `control.json`, `final.json`."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from fornada.figures.shards import JobFigures, ShardFigures, fitting
from fornada.ranges import Ranges
from fornada.records import (
    INLINE_VERSION,
    JOB_VERSION,
    SCHEMA_VERSION,
    Count,
    ItemError,
    Name,
    ObjectRef,
    PositiveCount,
    Record,
    Sha256,
    ShardCount,
    refuse_before,
)
from fornada.tensors import OutputTensor

_OF_VERSION_3 = ("item_ids_sha256", "tiles", "orientations_ignored", "decode_s", "figures")

EndState = Literal["SUCCEEDED", "PARTIAL", "FAILED", "CANCELLED", "EXPIRED"]


class ShardOutcome(Record):
    """`outcome/<block>/<shard>.json`: the one committed end of a shard."""

    schema_version: Literal[1, 2, 3] = SCHEMA_VERSION
    job_id: Name
    shard: Count
    status: Literal["ok", "dead"]
    attempt: str
    #: Attempts at the shard, this one included.
    attempts: ShardCount = 1
    #: Predicted in a process of its own, because earlier attempts killed their workers.
    isolated: bool = False
    #: float32 [items, classes] as `.npy`; only when ok.
    data: ObjectRef | None = None
    item_count: ShardCount
    item_errors: list[ItemError] = Field(default_factory=list)
    #: Photographs whose EXIF orientation the model's preprocessing ignores. Version 3.
    orientations_ignored: ShardCount | None = None
    #: Digest of the items' ids, if the manifest has one. Version 3.
    item_ids_sha256: Sha256 | None = None
    #: Only when dead: `input` or `crash-loop`, and the explanation.
    reason: str | None = None
    detail: str | None = None
    model_sha256: Sha256
    engine: str | None = None
    #: Rows of every predict call; bytes are reproducible for the same tile only. Absent where
    #: items have no fixed shape.
    tile_items: int | None = None
    #: Rows of every predict call by the shape of its items, `[224, 224, 3]`, where it is not
    #: fixed. Version 3.
    tiles: dict[str, int] | None = None
    worker: str
    began_at: AwareDatetime
    committed_at: AwareDatetime
    fetch_s: float = Field(ge=0, default=0.0)
    #: Images to items. Version 3.
    decode_s: float | None = Field(ge=0, default=None)
    predict_s: float = Field(ge=0, default=0.0)
    upload_s: float = Field(ge=0, default=0.0)
    #: What it took, and what was predicted; only when ok. Version 3.
    figures: ShardFigures | None = None

    @model_validator(mode="after")
    def _has_the_fields_of_its_version(self) -> Self:
        refuse_before(INLINE_VERSION, self, ["data.inline"])
        refuse_before(JOB_VERSION, self, _OF_VERSION_3)
        return self


class CancelRequest(Record):
    """`control.json`: a request to cancel."""

    schema_version: Literal[1] = SCHEMA_VERSION
    requested_at: AwareDatetime
    reason: str


class JobState(StrEnum):
    """The state of a job. The last five are ends, and never change."""

    #: Submitted; no outcome yet.
    QUEUED = "QUEUED"
    #: Some shards have outcomes.
    RUNNING = "RUNNING"
    #: Its manifest or its end is none that this version can read.
    UNREADABLE = "UNREADABLE"
    #: Every item has a result.
    SUCCEEDED = "SUCCEEDED"
    #: Some items have a reason instead of a result.
    PARTIAL = "PARTIAL"
    #: No item has a result, more failed than the job allows, or the model is unusable.
    FAILED = "FAILED"
    #: Cancelled; finished shards stay readable.
    CANCELLED = "CANCELLED"
    #: The deadline passed; finished shards stay readable.
    EXPIRED = "EXPIRED"


class JobFinal(Record):
    """`final.json`: how a job ended; written once."""

    schema_version: Literal[1, 2, 3] = SCHEMA_VERSION
    job_id: Name
    state: EndState
    reason: str | None = None
    #: When the first shard with an outcome was begun.
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime
    #: When the last outcome that counts was committed.
    last_outcome_at: AwareDatetime | None = None
    shards_ok: Count
    shards_dead: Count
    shards_missing: Count
    items_ok: Count
    items_failed: Count
    #: Attempts at the shards whose outcomes count.
    attempts: Count = 0
    #: Photographs whose EXIF orientation the model's preprocessing ignores. Version 3.
    orientations_ignored: PositiveCount | None = None
    #: Sums over the outcomes that count, unless `outcome` is here. Version 3.
    figures: JobFigures | None = None
    #: Ranges [first, last] of the shards whose outcomes count; later outcomes do not.
    outcome_ranges: Ranges
    #: The dead among them; a later ok outcome does not count.
    dead_ranges: Ranges = Field(default_factory=list)
    #: sha256 over a line for each outcome that counts, in order: `shard status data-sha256`, and
    #: in version 3 the digest of its ids and the ranges of its failed items.
    outcomes_sha256: Sha256
    #: The outcome of a small job of one shard, if it has no object of its own.
    outcome: ShardOutcome | None = None

    @model_validator(mode="after")
    def _has_the_fields_of_its_version(self) -> Self:
        refuse_before(INLINE_VERSION, self, ["outcome"])
        refuse_before(JOB_VERSION, self, ["orientations_ignored", "figures"])
        if self.state == "PARTIAL" and self.schema_version < JOB_VERSION:
            raise ValueError(f"version {self.schema_version} has no state PARTIAL")
        return self

    def figures_for(self, gives: Sequence[OutputTensor]) -> JobFigures | None:
        """What the job took, and what was predicted; `None` if no outcome says so.

        Args:
            gives: The job's outputs; what the figures say of others is left out.
        """
        found: ShardFigures | None = self.figures
        if found is None and self.outcome is not None:
            found = self.outcome.figures
        if found is None:
            return None
        fits = fitting(found, gives)
        return fits if isinstance(fits, JobFigures) else JobFigures.sum_of(None, fits)
