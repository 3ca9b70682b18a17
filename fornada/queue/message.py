"""The message that asks a worker to run a shard."""

from typing import Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from fornada.records import MAX_MESSAGE_BYTES, SCHEMA_VERSION, Name, Record, refuse_in_version_1

#: Shards in one message at most. Of less than a tile, which costs the same however full it is.
MAX_BUNDLE = 32


class ShardMessage(Record):
    """An argument of the Celery task, which takes several: which shard of which job."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    job_id: Name
    shard: int = Field(ge=0)
    #: The text of the job's manifest, where the job's id vouches for it (`fornada.jobs.ids`).
    manifest: str | None = Field(max_length=MAX_MESSAGE_BYTES, default=None)

    @model_validator(mode="after")
    def _has_the_fields_of_its_version(self) -> Self:
        refuse_in_version_1(self, "manifest", given=self.manifest is not None)
        return self
