"""A job's progress as `progress.lua` tells it, less what others wrote there that is no number.

Anyone who can write to Redis may have put anything into a job's tables. They are hints: what stands
there ends neither a round of the reconciler nor a command.
"""

import contextlib
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fornada.coordination.interface import Progress
from fornada.records import MAX_SHARDS

#: No table counts further.
_MOST_DIGITS = 15


def progress_in(answer: Sequence[Any]) -> Progress:
    """The progress in the answer of `progress.lua`."""
    now_ms, clock_ms, done, leased, running, *tables = answer
    enqueued, failed, job, held_up = (dict(zip(t[::2], t[1::2], strict=True)) for t in tables)
    bits = np.frombuffer(done.encode(errors="surrogateescape"), np.uint8)
    waits_ms = {shard: clock_ms - float(at) for shard, at in enqueued.items()}
    dead = {shard for shard, what in failed.items() if what == "dead"}
    return Progress(
        done=set(np.flatnonzero(np.unpackbits(bits)).tolist()),
        leased=_shards(leased),
        running=_shards(running),
        enqueued={
            int(shard): wait_ms / 1e3
            for shard, wait_ms in waits_ms.items()
            if _shards([shard]) and not math.isnan(wait_ms)
        },
        dead=_shards(dead),
        item_errors=sum(number(what) or 0 for shard, what in failed.items() if shard not in dead),
        attempts=number(job.get("attempts")) or 0,
        started_at=_time(number(job.get("started_ms"))),
        counted="counted" in job,
        at=datetime.fromtimestamp(now_ms / 1e3, UTC),
        held_up=held_up,
    )


def number(text: str | None) -> int | None:
    """The number that stands in Redis as `text`, if it is one."""
    is_number = text is not None and text.isascii() and text.isdecimal()
    return int(text) if text is not None and is_number and len(text) <= _MOST_DIGITS else None


def lease_s_of(lease_ms: str | None) -> float | None:
    """The lease in seconds that a leader states in milliseconds, if it does."""
    stated = number(lease_ms)
    return None if stated is None else stated / 1e3


def _shards(names: Iterable[str]) -> set[int]:
    numbers = (number(name) for name in names)
    return {shard for shard in numbers if shard is not None and shard < MAX_SHARDS}


def _time(at_ms: int | None) -> datetime | None:
    with contextlib.suppress(ValueError, OverflowError, OSError):
        return None if at_ms is None else datetime.fromtimestamp(at_ms / 1e3, UTC)
    return None
