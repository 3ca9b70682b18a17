"""What shards, workers and open jobs cost the servers and the leader."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Costs:
    """CPU time on one machine, in seconds unless the name says otherwise."""

    #: Redis, of a worker process without work, in each second.
    idle_redis_s: float
    idle_redis_commands: float
    #: Of a shard from its message to its end, on a store that ignores conditions.
    shard_redis_s: float
    shard_redis_commands: float
    shard_store_s: float
    #: Of its worker process, beside predicting.
    shard_worker_s: float
    #: A message of a refill: of the leader, and of Redis.
    message_leader_s: float
    message_redis_s: float
    #: What a round of the leader takes for each shard of an open job.
    round_leader_s: float
    round_redis_s: float
    #: What the end of a job takes its process for each shard, whose outcome it reads.
    end_worker_s: float
    #: A page of a listing of outcomes.
    page_store_s: float
    #: What a page of the workers takes Redis for each worker process.
    board_redis_s: float

    @classmethod
    def read(cls, path: Path) -> Self:
        """The costs that `write` wrote."""
        return cls(**json.loads(path.read_text())["costs"])

    def write(self, path: Path, **about: object) -> None:
        """Write the costs, with what is to be known `about` them."""
        path.write_text(json.dumps({**about, "costs": asdict(self)}, indent=1) + "\n")
