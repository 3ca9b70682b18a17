"""End the stack's process groups if the parent dies without doing so.

Runs as a script with only the standard library, since it lives as long as the stack. Reads lines:
`+PGID` watches a group, `-PGID` forgets it. End of input means that the parent is gone, however it
died, on every platform. The one argument is the folder where worker processes show life.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

GRACE_S = 15.0
_POLL_S = 0.05
# Workers show life every 2 s; within this time the number of a dead one is not reused.
_FRESH_S = 10.0


def end_group(pgid: int, *, grace_s: float) -> None:
    """End a process group that we cannot reap: SIGTERM, and SIGKILL after the grace."""
    deadline = time.monotonic() + grace_s
    try:
        os.killpg(pgid, signal.SIGTERM)
        while True:
            time.sleep(_POLL_S)
            os.killpg(pgid, 0)
            if time.monotonic() > deadline:
                os.killpg(pgid, signal.SIGKILL)
                return
    except (ProcessLookupError, PermissionError):
        # macOS answers EPERM for a group of zombies.
        return


def end_strays(signs_dir: Path, *, grace_s: float) -> None:
    """End worker processes that still show life although their supervisor is gone."""
    for sign in signs_dir.glob("*.json"):
        try:
            if time.time() - sign.stat().st_mtime > _FRESH_S:
                continue
            pid = int(json.loads(sign.read_bytes())["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            # The process ended meanwhile, or the file is not a sign of life.
            continue
        end_group(pid, grace_s=grace_s)


def watch(lines: Iterable[str]) -> list[int]:
    """The groups still watched at the end of input, youngest first."""
    groups: list[int] = []
    for line in lines:
        pgid = int(line[1:])
        if line.startswith("+"):
            groups.append(pgid)
        elif pgid in groups:
            groups.remove(pgid)
    return groups[::-1]


if __name__ == "__main__":
    for group in watch(sys.stdin):
        end_group(group, grace_s=GRACE_S)
    end_strays(Path(sys.argv[1]), grace_s=GRACE_S)
