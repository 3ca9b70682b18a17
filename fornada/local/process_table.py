"""Tell a process from a later one that got the same number."""

import shutil
import subprocess
from pathlib import Path

from fornada.records import Record

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: Fields of /proc/PID/stat after the program's name, which may itself hold spaces.
_START_FIELD = 19


class ProcessMark(Record):
    """A process, for good: its number and when it began."""

    pid: int
    #: Opaque; left out when the process does not live.
    began: str | None = None


class ProcessMarks(Record):
    """The record of a stack's processes, the oldest first."""

    processes: list[ProcessMark]


def mark_of(pid: int) -> ProcessMark:
    """The mark of the process that has this number now."""
    return ProcessMark(pid=pid, began=_began(pid))


def _began(pid: int) -> str | None:
    if _BOOT_ID.exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        ticks = stat.rpartition(")")[2].split()[_START_FIELD]
        return f"{_BOOT_ID.read_text().strip()} {ticks}"
    ps = shutil.which("ps") or "/bin/ps"
    listed = subprocess.run(  # noqa: S603 - a number is all that varies
        [ps, "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip() or None
