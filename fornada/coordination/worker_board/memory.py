"""`WorkerBoard` in memory, for tests."""

from collections.abc import Sequence
from typing import Any

from fornada.coordination.worker_board.interface import WorkerReport


class InMemoryWorkerBoard:
    """`WorkerBoard` in a dictionary; part of `InMemoryCoordination`."""

    #: Has a lock and `workers`.
    _memory: Any

    def report(self, report: WorkerReport) -> None:
        with self._memory.lock:
            self._memory.workers[report.name] = report

    def workers(self) -> Sequence[WorkerReport]:
        with self._memory.lock:
            return [self._memory.workers[name] for name in sorted(self._memory.workers)]

    def forget_worker(self, name: str) -> None:
        with self._memory.lock:
            self._memory.workers.pop(name, None)
