"""The tests' side of the faults that are injected into worker processes."""

import os
from pathlib import Path

_INJECTED = Path(__file__).resolve().parent / "injected"
#: At most 240 messages a second, with three workers of four threads.
_PAUSE_S = 0.05


class FaultControl:
    """Arms fault points in processes that run with `environ`, and counts their effects."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("armed", "killed", "hung", "ends", "leased"):
            (folder / name).mkdir(parents=True)
        #: Additions to the workers' environment.
        path = [str(_INJECTED), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environ = {"PYTHONPATH": os.pathsep.join(path), "FAULT_POINTS_DIR": str(folder)}

    def arm(self, point: str, *passages: int) -> None:
        """Kill the processes that make these passages of the point.

        Args:
            point: Name of the fault point.
            passages: Counted from 1 over all processes; default: the next one.
        """
        deadly = passages or (1,)
        marks = ["x" if n in deadly else "." for n in range(1, max(deadly) + 1)]
        self._write(f"armed/{point}", "".join(marks))

    def stop_at(self, point: str, *, processes: int) -> None:
        """Stop (SIGSTOP) the next `processes` processes that reach the point."""
        self._write(f"armed/{point}", "s" * processes)

    def slow_down(self) -> None:
        """Slow workers down, so that a test on a busy machine sees a job halfway."""
        self._write("pause", str(_PAUSE_S))

    def disarm(self) -> None:
        """Disarm every point, and let workers run at full speed."""
        (self._folder / "pause").unlink(missing_ok=True)
        for armed in (self._folder / "armed").iterdir():
            armed.unlink(missing_ok=True)

    def kills(self, point: str, *, process: str = "worker") -> int:
        """How many `worker` or `worker.shards.isolated` processes the point has killed."""
        return self._noted("killed", point).count(process)

    def hangs(self, *, process: str) -> int:
        """How many processes of the kind an item has hung."""
        return self._noted("hung", "item").count(process)

    def ends(self, job_id: str) -> list[bytes]:
        """Every end that workers wrote for the job, oldest first."""
        return [p.read_bytes() for p in sorted((self._folder / "ends").glob(f"{job_id}.*[0-9]"))]

    def leased_count(self, job_id: str) -> int:
        """How many messages found their shard leased to another attempt."""
        return len(list((self._folder / "leased").glob(f"{job_id}.*[0-9]")))

    def ended_count(self, job_ids: set[str]) -> int:
        """How many of the jobs a worker has ended."""
        ended = {path.name.rpartition(".")[0] for path in (self._folder / "ends").iterdir()}
        return len(ended & job_ids)

    def _noted(self, kind: str, name: str) -> list[str]:
        return [path.read_text() for path in (self._folder / kind).glob(f"{name}.*[0-9]")]

    def _write(self, name: str, text: str) -> None:
        """Write atomically: workers read it at any moment."""
        part = self._folder / "part"
        part.write_text(text)
        part.replace(self._folder / name)
