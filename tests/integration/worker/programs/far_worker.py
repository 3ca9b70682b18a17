"""A worker whose shards all say that they wait long for the store.

Run as a program, with a worker's environment.
"""

import os
import sys
from typing import Any

from fornada.settings import Settings
from worker.compute import thread_choice
from worker.process import run_process

#: The shards in hand that would keep its engine at work.
THREADS = 8


def _threads_for(*_args: Any, **_kwargs: Any) -> int:
    return THREADS


def main() -> int:
    """Consume until a signal ends it."""
    thread_choice.threads_for = _threads_for
    # Tests keep the cores busy.
    thread_choice._IDLE = 0.0
    return run_process(Settings.from_env(os.environ), threads=1)


if __name__ == "__main__":
    sys.exit(main())
