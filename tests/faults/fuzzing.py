"""Damage to bytes, and what parsers of untrusted ones are held to: our errors, soon, in bounds."""

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings

from fornada.errors import FornadaError

_SOAKING = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
#: The deadline is far above what the slowest of these takes, and below what is called a hang.
SOON = settings(
    settings.get_profile("faults"),
    max_examples=5000 if _SOAKING else 120,
    derandomize=not _SOAKING,
    deadline=timedelta(seconds=5),
)
#: Memory that a parser may take on top of what the process had, for inputs of a few KB.
_MEMORY_KB = 300 * 1024

#: Where, how many bytes are taken out, and what is put in.
Edit = tuple[int, int, bytes]
EDITS: st.SearchStrategy[list[Edit]] = st.lists(
    st.tuples(
        st.integers(0, 2**16),
        st.sampled_from([0, 1, 1, 2, 4, 8, 8, 200]),
        st.binary(max_size=8)
        | st.sampled_from([b"\xff", b"\xff" * 8, b"\0" * 8, b"9" * 400, b"[" * 400])
        # An offset or a length where eight bytes stand for one.
        | st.integers(0, 2**64 - 1).map(lambda number: number.to_bytes(8, "little")),
    ),
    min_size=1,
    max_size=8,
)


def edited(data: bytes, edits: list[Edit]) -> bytes:
    """`data` with the edits made."""
    changed = bytearray(data)
    for at, length, replacement in edits:
        first = at % (len(changed) + 1)
        changed[first : first + length] = replacement
    return bytes(changed)


def obeyed(parse: Callable[[], Any], refusal: type[FornadaError]) -> Any:
    """What `parse` gives, or `None` where it refuses as it should; anything else is raised."""
    try:
        return parse()
    except refusal as exc:
        message = str(exc)
    assert 0 < len(message) < 2000
    return None


@contextmanager
def little_memory() -> Iterator[None]:
    """The block takes no more than a parser may, whatever the process has taken before."""
    before_kb = _peak_kb(anew=True)
    yield
    assert _peak_kb(anew=False) - before_kb < _MEMORY_KB


def _peak_kb(*, anew: bool) -> int:
    if sys.platform != "linux":
        # In bytes there. What was taken once hides all that is taken later.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if anew:
        # The highest so far becomes what it is now.
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
