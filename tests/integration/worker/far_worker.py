"""A worker whose store is far away: each write comes later; all else is as it is.

Run as a program, with a worker's environment.
"""

import os
import sys
import time
from typing import Any

from fornada import logs
from fornada.events import Events, log_event
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from worker.process import run_process

#: Each of a shard's two.
WRITE_S = 0.25


def main() -> int:
    """Consume until a signal ends it."""
    settings = Settings.from_env(os.environ)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    put = S3ObjectStore.put

    def put_late(self: S3ObjectStore, *args: Any, **kwargs: Any) -> None:
        time.sleep(WRITE_S)
        put(self, *args, **kwargs)

    S3ObjectStore.put = put_late  # type: ignore[method-assign]
    return run_process(settings, threads=1, events=Events(log_event))


if __name__ == "__main__":
    sys.exit(main())
