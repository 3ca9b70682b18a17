"""End the stack's process groups when the parent dies without having done so.

Run as a file of its own, with the standard library alone: it lives as long as the stack does.
Lines: `+PGID` watch a group, `-PGID` forget it. End of input means that the parent is gone,
however it died; a pipe tells that on every platform, and whichever thread began the child.
The one argument is the folder where worker processes show life.
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
# Workers show life every 2 s. So soon no other process gets the number of one that ended.
_FRESH_S = 10.0


def end_group(pgid: int, *, grace_s: float) -> None:
    """End a process group that is not ours to reap: SIGTERM, and SIGKILL after the grace."""
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
        # macOS answers EPERM for a group that has only zombies.
        return


def end_strays(signs_dir: Path, *, grace_s: float) -> None:
    """End worker processes that still show life, though nobody minds them any more."""
    for sign in signs_dir.glob("*.json"):
        try:
            if time.time() - sign.stat().st_mtime > _FRESH_S:
                continue
            pid = int(json.loads(sign.read_bytes())["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            # It ended on purpose in between, or the file is nobody's sign.
            continue
        end_group(pid, grace_s=grace_s)


def watch(lines: Iterable[str]) -> list[int]:
    """The groups still watched at the end of input, the youngest first."""
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
