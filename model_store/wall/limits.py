"""What a process behind the wall may take, from the size of the artifact that it loads."""

import contextlib
import math
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from fornada.child_process import end_with_parent

#: TensorFlow and Keras take 0.3 GiB of data once imported, a network of `keras.applications` 0.2 to
#: 1 GiB beside its weights.
_BASE_BYTES = 4 * 2**30
#: Weights while they are read, as constants of a graph, and in the layout that a CPU wants.
_BYTES_OF_A_BYTE = 4
#: An import takes 2 to 10 s, a network of `keras.applications` as much again.
_BASE_S = 90.0
_BYTES_A_SECOND = 4 * 2**20
#: Most bytes of a file that the process writes: an unpacked artifact.
_MOST_FILE_BYTES = 4 * 2**30
_STACK_BYTES = 8 * 2**20
_RECURSION_DEPTH = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class WallLimits:
    """Limits of one process."""

    #: Of its data: heap, stacks and other private memory. An address-space limit breaks TensorFlow,
    #: which reserves far more than it uses.
    data_bytes: int
    #: Of each request.
    time_s: float

    @classmethod
    def of_artifact(
        cls,
        size_bytes: int,
        *,
        golden_count: int = 0,
        call_bytes: int = 0,
        most_s: float = math.inf,
    ) -> "WallLimits":
        """The limits for an artifact.

        Args:
            size_bytes: Of the `.keras` file.
            golden_count: Items of a golden batch that its publisher gives, a second each.
            call_bytes: What a call may take whose rows an operator has set.
            most_s: What the caller can wait.
        """
        return cls(
            data_bytes=_BASE_BYTES + _BYTES_OF_A_BYTE * size_bytes + call_bytes,
            time_s=min(most_s, _BASE_S + size_bytes / _BYTES_A_SECOND + golden_count),
        )

    @property
    def cpu_s(self) -> int:
        """Seconds of all cores after which the kernel ends a process that nobody waits for."""
        return math.ceil(self.time_s * 2 * (os.cpu_count() or 1))


def apply_limits(*, data_bytes: int, cpu_s: int) -> None:
    """Limit this process, which cannot undo it, and have it end with its parent."""
    for kind, most in (
        (resource.RLIMIT_DATA, data_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, _MOST_FILE_BYTES),
        (resource.RLIMIT_STACK, _STACK_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, given = resource.getrlimit(kind)
        own = most if given == resource.RLIM_INFINITY else min(most, given)
        resource.setrlimit(kind, (own, own))
    sys.setrecursionlimit(_RECURSION_DEPTH)
    end_with_parent()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            # Where memory is short, the kernel is to end this process, not the worker.
            Path("/proc/self/oom_score_adj").write_text("1000")


def peak_bytes() -> int:
    """The most memory that this process has taken, with the pages of files that it uses.

    Since `forget_peak`, where the system can forget it.
    """
    # What it was before it became this program would count in `ru_maxrss`, too.
    return _status_bytes("VmHWM:") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_bytes() -> int:
    """The memory that this process takes now; 0 where the system does not say."""
    return _status_bytes("VmRSS:")


def forget_peak() -> None:
    """Have `peak_bytes` start anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status_bytes(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)
