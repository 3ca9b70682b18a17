"""The records that end a shard or a job: `outcome/*.json`, `control.json`, `final.json`."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    model_validator,
)

from fornada.records import (
    MAX_SHARDS,
    SCHEMA_VERSION,
    Name,
    ObjectRef,
    Record,
    Sha256,
    refuse_in_version_1,
)


def _ascending(ranges: list[list[int]]) -> list[list[int]]:
    """Refuse ranges that are not an ascending set of shards, before they are expanded."""
    before = -1
    for first, last in ranges:
        if not before < first <= last < MAX_SHARDS:
            raise ValueError(f"[{first}, {last}] is not a range of shards above {before}")
        before = last
    return ranges


#: Shards as ranges [first, last], ascending.
ShardRanges = Annotated[
    list[Annotated[list[int], Field(min_length=2, max_length=2)]], AfterValidator(_ascending)
]


class ItemError(Record):
    """Why one item of a shard has no probabilities; its row is NaN."""

    #: Position within the shard.
    index: int = Field(ge=0)
    reason: str


class ShardOutcome(Record):
    """`outcome/<block>/<shard>.json`: the one committed end of a shard."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    job_id: Name
    shard: int = Field(ge=0)
    status: Literal["ok", "dead"]
    attempt: str
    #: Attempts at the shard, this one included.
    attempts: int = Field(ge=1, default=1)
    #: Predicted in a process of its own, because earlier attempts killed their workers.
    isolated: bool = False
    #: float32 [items, classes] as `.npy`; only when ok.
    data: ObjectRef | None = None
    item_count: int = Field(ge=1)
    item_errors: list[ItemError] = Field(default_factory=list)
    #: Only when dead: `input` or `crash-loop`, and the explanation.
    reason: str | None = None
    detail: str | None = None
    model_sha256: Sha256
    engine: str | None = None
    #: Rows of every predict call; bytes are reproducible for the same tile only.
    tile_items: int | None = None
    worker: str
    began_at: AwareDatetime
    committed_at: AwareDatetime
    fetch_s: float = Field(ge=0, default=0.0)
    predict_s: float = Field(ge=0, default=0.0)
    upload_s: float = Field(ge=0, default=0.0)

    @model_validator(mode="after")
    def _has_the_fields_of_its_version(self) -> Self:
        inline = self.data is not None and self.data.inline is not None
        refuse_in_version_1(self, "data.inline", given=inline)
        return self


class CancelRequest(Record):
    """`control.json`: a request to cancel."""

    schema_version: Literal[1] = SCHEMA_VERSION
    requested_at: AwareDatetime
    reason: str


class JobState(StrEnum):
    """The state of a job. The last four are ends, and never change."""

    #: Submitted; no outcome yet.
    QUEUED = "QUEUED"
    #: Some shards have outcomes.
    RUNNING = "RUNNING"
    #: Every shard has an ok outcome.
    SUCCEEDED = "SUCCEEDED"
    #: A shard is dead, or the model is unusable; finished shards stay readable.
    FAILED = "FAILED"
    #: Cancelled; finished shards stay readable.
    CANCELLED = "CANCELLED"
    #: The deadline passed; finished shards stay readable.
    EXPIRED = "EXPIRED"


class JobFinal(Record):
    """`final.json`: how a job ended; written once."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    job_id: Name
    state: Literal["SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"]
    reason: str | None = None
    #: When the first shard with an outcome was begun.
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime
    #: When the last outcome that counts was committed.
    last_outcome_at: AwareDatetime | None = None
    shards_ok: int = Field(ge=0)
    shards_dead: int = Field(ge=0)
    shards_missing: int = Field(ge=0)
    items_ok: int = Field(ge=0)
    items_failed: int = Field(ge=0)
    #: Attempts at the shards whose outcomes count.
    attempts: int = Field(ge=0, default=0)
    #: Ranges [first, last] of the shards whose outcomes count; later outcomes do not.
    outcome_ranges: ShardRanges
    #: The dead among them; a later ok outcome does not count.
    dead_ranges: ShardRanges = Field(default_factory=list)
    #: sha256 over a line `shard status data-sha256` for each outcome that counts, in order.
    outcomes_sha256: Sha256
    #: The outcome of a small job of one shard, if it has no object of its own.
    outcome: ShardOutcome | None = None

    @model_validator(mode="after")
    def _has_the_fields_of_its_version(self) -> Self:
        refuse_in_version_1(self, "outcome", given=self.outcome is not None)
        return self
