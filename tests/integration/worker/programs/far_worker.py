"""A worker that measures a store far away: a shard waits seven times as long as it computes.

Run as a program, with a worker's environment.
"""

import os
import sys
from typing import Any

from fornada.settings import Settings
from worker.compute import thread_choice
from worker.compute.thread_choice import ShardCost
from worker.process import run_process

COST = ShardCost(wait_s=0.7, busy_s=0.1, size_bytes=1)


def _shard_cost(*_args: Any, **_kwargs: Any) -> ShardCost:
    return COST


def main() -> int:
    """Consume until a signal ends it."""
    thread_choice.shard_cost = _shard_cost
    return run_process(Settings.from_env(os.environ), threads=1)


if __name__ == "__main__":
    sys.exit(main())
