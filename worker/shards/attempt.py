"""One attempt at a shard."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fornada.jobs.manifest import JobManifest, ShardInput


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try at a shard."""

    manifest: JobManifest
    shard: int
    id: str
    number: int
    began_at: datetime
    #: By the monotonic clock: until then nobody else can be at the shard, nor have been.
    alone_until_s: float = 0.0

    @property
    def spec(self) -> ShardInput:
        """What the shard reads."""
        return self.manifest.shards[self.shard]

    @property
    def item_count(self) -> int:
        """How many items are in it."""
        return self.manifest.shards.item_counts[self.shard]

    @property
    def is_alone(self) -> bool:
        """Whether no other attempt can have committed an outcome."""
        return time.monotonic() < self.alone_until_s

    def identity(self, worker: str) -> dict[str, Any]:
        """What every outcome of this attempt says of it."""
        return {
            "schema_version": self.manifest.schema_version,
            "job_id": self.manifest.job_id,
            "shard": self.shard,
            "attempt": self.id,
            "attempts": self.number,
            "model_sha256": self.manifest.model.sha256,
            "worker": worker,
            "began_at": self.began_at,
        }
