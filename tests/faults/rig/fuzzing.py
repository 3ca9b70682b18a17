"""Damaged bytes, and the promises of parsers: a result or our error, in bounded memory."""

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings

from fornada.errors import FornadaError

_SOAKING = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
#: A parser that hangs runs into the timeout of its test.
FUZZED = settings(
    settings.get_profile("faults"),
    max_examples=5000 if _SOAKING else 40,
    derandomize=not _SOAKING,
)
#: What a parser may allocate for inputs of a few KB.
_MEMORY_KB = 300 * 1024

#: Offset, number of bytes to remove, and bytes to insert there.
Edit = tuple[int, int, bytes]
EDITS: st.SearchStrategy[list[Edit]] = st.lists(
    st.tuples(
        st.integers(0, 2**16),
        st.sampled_from([0, 1, 1, 2, 4, 8, 8, 200]),
        st.binary(max_size=8)
        | st.sampled_from([b"\xff", b"\xff" * 8, b"\0" * 8, b"9" * 400, b"[" * 400])
        # An eight-byte offset or length.
        | st.integers(0, 2**64 - 1).map(lambda number: number.to_bytes(8, "little")),
    ),
    min_size=1,
    max_size=8,
)


def edited(data: bytes, edits: list[Edit]) -> bytes:
    """`data` with the edits applied."""
    changed = bytearray(data)
    for at, length, replacement in edits:
        first = at % (len(changed) + 1)
        changed[first : first + length] = replacement
    return bytes(changed)


def obeyed(parse: Callable[[], Any], refusal: type[FornadaError]) -> Any:
    """The result of `parse`, or `None` if it raises `refusal`; other errors propagate."""
    try:
        return parse()
    except refusal as exc:
        message = str(exc)
    assert 0 < len(message) < 2000
    return None


@contextmanager
def little_memory() -> Iterator[None]:
    """Check that the block allocates no more than a parser may."""
    before_kb = _peak_kb(reset=True)
    yield
    assert _peak_kb(reset=False) - before_kb < _MEMORY_KB


def _peak_kb(*, reset: bool) -> int:
    if sys.platform != "linux":
        # In bytes there. An earlier peak hides every later one below it.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if reset:
        # Resets the peak to the present size.
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
