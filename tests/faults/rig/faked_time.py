"""Processes whose clock a test sets: through libfaketime, where it is installed."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

_LIBRARY = "usr/lib/*/faketime/libfaketimeMT.so.1"


def skip_without_faketime() -> Path:
    """The library; skips the test where there is none."""
    found = list(Path("/").glob(_LIBRARY))
    if not found or shutil.which("faketime") is None:
        pytest.skip("faketime is not installed")
    return found[0]


class FakedClock:
    """The wall clock of a program; its monotonic clock stays as it is.

    Args:
        folder: Holds the clock and the program's wrapper.
        program: What is run by the wrapper.
    """

    def __init__(self, folder: Path, *, program: str) -> None:
        self._time = folder / "time"
        self.wrapper = folder / "wrapper"
        self.set(0)
        faked = {
            "LD_PRELOAD": skip_without_faketime(),
            "FAKETIME_TIMESTAMP_FILE": self._time,
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        settings = " ".join(f"{name}={value}" for name, value in faked.items())
        self.wrapper.write_text(f'#!/bin/sh\nexec env {settings} {program} "$@"\n')
        self.wrapper.chmod(0o755)

    def set(self, ahead_s: int) -> None:
        """Set it so many seconds ahead of the machine's."""
        # Read at every look at the clock, and so never half written.
        fresh = self._time.with_suffix(".new")
        fresh.write_text(f"{ahead_s:+d}s\n")
        fresh.replace(self._time)


def at_another_time(ahead: str, *command: str) -> Sequence[str]:
    """The command, run with its clock ahead, `+10m` as `faketime` takes it."""
    return ["faketime", "-f", ahead, *command]
