"""The tests' side of the faults that worker processes do to themselves."""

import os
from pathlib import Path

_INJECTED = Path(__file__).resolve().parent / "injected"
#: With three workers of four threads, 240 messages a second at most.
_PAUSE_S = 0.05


class FaultControl:
    """Arms points in the worker processes that run with `environ`; knows who died there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("armed", "killed", "hung", "ends", "leased"):
            (folder / name).mkdir(parents=True)
        #: To be added to the workers' environment.
        path = [str(_INJECTED), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environ = {"PYTHONPATH": os.pathsep.join(path), "FAULT_POINTS_DIR": str(folder)}

    def arm(self, point: str, *passages: int) -> None:
        """Have processes killed at the point: those that come there next as the numbers say.

        Args:
            point: Where.
            passages: Counted from 1 over all processes; the next one alone if left out.
        """
        deadly = passages or (1,)
        marks = ["x" if n in deadly else "." for n in range(1, max(deadly) + 1)]
        self._write(f"armed/{point}", "".join(marks))

    def stop_at(self, point: str, *, processes: int) -> None:
        """Have the next so many processes that come to the point stopped there (SIGSTOP)."""
        self._write(f"armed/{point}", "s" * processes)

    def slow_down(self) -> None:
        """Let work last: fast workers are through it before a busy machine has looked twice."""
        self._write("pause", str(_PAUSE_S))

    def disarm(self) -> None:
        """Let the processes live, as fast as they can."""
        (self._folder / "pause").unlink(missing_ok=True)
        for armed in (self._folder / "armed").iterdir():
            armed.unlink(missing_ok=True)

    def kills(self, point: str, *, process: str = "worker") -> int:
        """How many `worker` or `worker.shards.isolated` processes the point killed so far."""
        return self._noted("killed", point).count(process)

    def hangs(self, *, process: str) -> int:
        """How many processes of the kind hung over an item so far."""
        return self._noted("hung", "item").count(process)

    def ends(self, job_id: str) -> list[bytes]:
        """What workers wrote as the job's end, oldest first."""
        return [p.read_bytes() for p in sorted((self._folder / "ends").glob(f"{job_id}.*[0-9]"))]

    def leased_count(self, job_id: str) -> int:
        """How many messages found another attempt at work on their shard."""
        return len(list((self._folder / "leased").glob(f"{job_id}.*[0-9]")))

    def ended_count(self, job_ids: set[str]) -> int:
        """How many of the jobs have an end that a worker wrote."""
        ended = {path.name.rpartition(".")[0] for path in (self._folder / "ends").iterdir()}
        return len(ended & job_ids)

    def _noted(self, kind: str, name: str) -> list[str]:
        return [path.read_text() for path in (self._folder / kind).glob(f"{name}.*[0-9]")]

    def _write(self, name: str, text: str) -> None:
        """At once, for workers may be about to read it."""
        part = self._folder / "part"
        part.write_text(text)
        part.replace(self._folder / name)
