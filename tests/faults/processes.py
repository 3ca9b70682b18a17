"""Processes, as the kernel tells of them: who lives, who stands still, who was left behind."""

import contextlib
import time
from pathlib import Path

#: What was killed has memory to give back.
_GONE_WITHIN_S = 5.0


def is_stopped(pid: int) -> bool:
    """Whether the process has taken a SIGSTOP."""
    return _state(pid) == "T"


def lives(pid: int) -> bool:
    """Whether the process still runs."""
    return _state(pid) not in {None, "Z", "X"}


def left_of(folder: Path) -> dict[int, str]:
    """Processes of a deployment that are not gone a moment after its end, with their commands."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    while (found := _processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _processes_of(folder: Path) -> dict[int, str]:
    """Those that have the folder in their arguments or environment.

    The numbers of workers that were seen say nothing: on a busy machine others get them soon.
    """
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if f"{folder}/".encode() in command + (process / "environ").read_bytes():
                found[int(process.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
