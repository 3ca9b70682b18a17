"""A worker that waits for the test at two points of each shard; of a worker, the engine is fake.

It is held in the predict call, and once more after the outcome is committed and before the
task returns. Where it is held, it says in the Redis list HELD_AT; an element of the list GO_ON
lets it continue. Run as a program, with a worker's environment.
"""

import os
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import redis

from fornada.formats.rows import Rows
from fornada.queue.message import ShardMessage
from fornada.settings import Settings
from model_store.engines.artifact.work import Work
from worker import assembly, process
from worker.shards.service import ShardService

HELD_AT = "test:held-at"
GO_ON = "test:go-on"


def _hold(where: str) -> None:
    url = Settings.from_env(os.environ).redis_url.get_secret_value()
    with redis.Redis.from_url(url, socket_timeout=None) as client:
        client.lpush(HELD_AT, where)
        client.blpop([GO_ON], 0)


class _HeldPredictor:
    """Answers zeros."""

    engine, streams, calls_ahead, tile_items, part_items = "fake 1", 1, 0, 64, None
    work = Work(multiplications=1, weight_bytes=0, output_bytes=4, operation_count=1)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Any model will do."""

    def rows_for(self, _item_shape: Sequence[int]) -> int:
        """Rows of every call."""
        return self.tile_items

    def predict_tile(self, tile: Rows) -> Rows:
        if tile.only.any():
            _hold("predict")
        return Rows(np.zeros((len(tile), 1), np.float32))


class _HeldService(ShardService):
    """Waits once more, as its outcome is committed."""

    def run_bundle(self, messages: Sequence[ShardMessage]) -> list[str]:
        came = super().run_bundle(messages)
        _hold(came[0])
        return came


def main() -> int:
    """Consume until a signal ends it."""
    # Without TensorFlow: its import takes seconds.
    assembly.open_engine = lambda _name, *, threads: SimpleNamespace(
        name="fake 1", streams=threads, call_bytes=None, forget=lambda: None
    )
    assembly.EnginePredictor = _HeldPredictor
    assembly.ShardService = _HeldService
    return process.run_process(Settings.from_env(os.environ), threads=1)


if __name__ == "__main__":
    sys.exit(main())
