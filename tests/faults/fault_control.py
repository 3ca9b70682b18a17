"""The tests' side of the faults that worker processes do to themselves."""

import os
from pathlib import Path

_INJECTED = Path(__file__).resolve().parent / "injected"


class FaultControl:
    """Arms points in the worker processes that run with `environ`; knows who died there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("kill-at", "killed", "ends", "leased"):
            (folder / name).mkdir(parents=True)
        #: To be added to the workers' environment.
        path = [str(_INJECTED), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environ = {"PYTHONPATH": os.pathsep.join(path), "FAULT_POINTS_DIR": str(folder)}

    def arm(self, point: str) -> None:
        """Have the next process that comes to the point killed there."""
        (self._folder / "kill-at" / point).touch()

    def disarm(self) -> None:
        """Let the processes live."""
        for armed in (self._folder / "kill-at").iterdir():
            armed.unlink(missing_ok=True)

    def kills(self, point: str, *, process: str = "worker") -> int:
        """How many processes (`worker` or `worker.isolated`) were killed at the point so far."""
        noted = [*(self._folder / "killed").glob(f"{point}.*[0-9]")]
        return [path.read_text() for path in noted].count(process)

    def ends(self, job_id: str) -> list[bytes]:
        """What workers wrote as the job's end, oldest first."""
        return [p.read_bytes() for p in sorted((self._folder / "ends").glob(f"{job_id}.*[0-9]"))]

    def leased_count(self, job_id: str) -> int:
        """How many messages found another attempt at work on their shard."""
        return len(list((self._folder / "leased").glob(f"{job_id}.*[0-9]")))
