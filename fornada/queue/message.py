"""The message that asks a worker to run a shard."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fornada.records import (
    INLINE_VERSION,
    JOB_VERSION,
    MAX_MESSAGE_BYTES,
    MAX_SHARDS,
    SCHEMA_VERSION,
    Name,
    Record,
    refuse_before,
)
from fornada.trust.deployment_keys import Hmac

#: Shards in one message of the queue, at most. Less than a tile, whose cost is the same when half
#: empty.
MAX_BUNDLE = 32


class ShardMessage(Record):
    """An argument of the Celery task, which takes several: a shard to run."""

    schema_version: Literal[1, 2, 3] = SCHEMA_VERSION
    job_id: Name
    shard: int = Field(ge=0, lt=MAX_SHARDS)
    #: The job's manifest as stored, if the job's id is derived from it (`fornada.jobs.ids`).
    manifest: str | None = Field(max_length=MAX_MESSAGE_BYTES, default=None)
    #: The queue of the job. Version 3; reserved.
    queue: Name | None = None
    #: Signature of `manifest` by one of the deployment's keys. Version 3.
    hmac: Hmac | None = None

    @model_validator(mode="after")
    def _has_the_fields_of_its_version(self) -> Self:
        refuse_before(INLINE_VERSION, self, ["manifest"])
        refuse_before(JOB_VERSION, self, ["queue", "hmac"])
        return self
