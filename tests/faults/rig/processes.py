"""The kernel's view of processes: running, stopped, or left behind."""

import contextlib
import time
from pathlib import Path

#: A killed process first frees its memory.
_GONE_WITHIN_S = 5.0


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has taken effect."""
    return _state(pid) == "T"


def lives(pid: int) -> bool:
    """Whether the process still runs."""
    return _state(pid) not in {None, "Z", "X"}


def left_of(folder: Path) -> dict[int, str]:
    """Processes that outlive the deployment in `folder`, with their command lines."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    while (found := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def processes_of(folder: Path) -> dict[int, str]:
    """Processes with `folder` in their arguments or environment, with their command lines.

    Process ids that were seen earlier prove nothing: a busy machine reuses them soon.
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
