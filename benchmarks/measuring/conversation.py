"""The harness's side of a contender process: starts it, asks it, always ends it."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.contract import Done, Task
from benchmarks.measuring import process_tree
from benchmarks.measuring.process_tree import MemoryWatch

_LOG_TAIL_LINES = 12
_END_S = 20.0


class ContenderError(Exception):
    """A contender ended, hung, or answered wrongly; with the end of its log."""


class Conversation:
    """One running contender."""

    def __init__(
        self, process: subprocess.Popen[str], *, memory: MemoryWatch, log_path: Path
    ) -> None:
        self.memory = memory
        self.pid = process.pid
        self.started_at = time.time()
        self._process = process
        self._log_path = log_path
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="contender", daemon=True).start()

    def ready(self, *, timeout_s: float) -> dict[str, Any]:
        """Wait until it is up; return its description of itself."""
        return self._next("ready", timeout_s)

    def ask(self, task: Task, *, timeout_s: float) -> tuple[Done, float]:
        """Have the task done; return the result, and its seconds by our clock."""
        assert self._process.stdin is not None
        began_at = time.time()
        try:
            self._process.stdin.write(json.dumps(asdict(task)) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._error("ended") from None
        done = Done(**self._next("result", timeout_s))
        if not began_at < done.finished_at <= time.time():
            raise self._error(f"claims an end {done.finished_at - began_at:.3f} s after its start")
        return done, done.finished_at - began_at

    def _next(self, event: str, timeout_s: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise self._error(f"gave no {event} within {timeout_s:g} s") from None
        if not line:
            raise self._error(f"ended before its {event}")
        said: dict[str, Any] = json.loads(line)
        if said.pop("event") != event:
            raise self._error(f"said {line!r} in place of its {event}")
        return said

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put("")

    def _error(self, what: str) -> ContenderError:
        lines = self._log_path.read_text(errors="replace").splitlines()
        tail = "\n    ".join(lines[-_LOG_TAIL_LINES:])
        return ContenderError(f"it {what}; its log ends:\n    {tail}")


@contextlib.contextmanager
def started(
    command: Sequence[str], *, environ: Mapping[str, str], folder: Path, log_path: Path
) -> Iterator[Conversation]:
    """A contender in its own process group; every process that it started ends with the block."""
    others = process_tree.below(os.getpid())
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            env=environ,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        with MemoryWatch(process.pid) as memory:
            yield Conversation(process, memory=memory, log_path=log_path)
            _end_kindly(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process_tree.end_all(process_tree.below(os.getpid()) - others)
        _close(process)


def _close(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        # Unsent input cannot be flushed either.
        with contextlib.suppress(BrokenPipeError):
            assert pipe is not None
            pipe.close()


def _end_kindly(process: subprocess.Popen[str]) -> None:
    """Close its stdin, and wait a while for its end."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
