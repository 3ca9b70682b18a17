"""Processes count in the files of their slot, whatever becomes of them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from fornada.errors import LocalDiskError
from fornada.events.processes import EndReason, WorkerEnded
from fornada.metrics.exposition import Exposition, exposed
from fornada.metrics.slots import SlotFiles

from ....scraped import Scraped

# As a worker process does, until it is killed.
_WORK = """
import os, signal
from fornada.events import StoreRequested
from fornada.events.queues import LeadershipNoted
from fornada.metrics.instrument import Role
from fornada.metrics.recorder import Recorder
from fornada.metrics.slots import slot_registry
recorder = Recorder(Role.WORKER, registry=slot_registry(os.environ))
recorder.hear(LeadershipNoted(queue="q", leads=True))
for _ in range(3):
    recorder.hear(StoreRequested(operation="get", duration_s=0.5))
os.kill(os.getpid(), signal.SIGKILL)
"""


def work(files: SlotFiles, slots: Iterable[int]) -> None:
    """Let a process count in each of these slots, and be killed."""
    for slot in slots:
        run = subprocess.run(
            [sys.executable, "-c", _WORK], env={**os.environ, **files.environ(slot)}, timeout=60
        )
        assert -signal.SIGKILL == run.returncode


def scraped(files: SlotFiles) -> Scraped:
    return Scraped(Exposition.of(exposed(files.collect), accept="").text.decode())


def test_counts_of_killed_processes_stay_and_their_successors_count_on(tmp_path: Path) -> None:
    files = SlotFiles(tmp_path, slots=2)
    kept = sorted(tmp_path.rglob("*.db"))
    # Who writes to a mapped file for which the disk has no room left is killed.
    assert all(512 * path.stat().st_blocks >= path.stat().st_size for path in kept)

    work(files, [0, 1])
    for slot in (0, 1):
        files.hear(WorkerEnded(slot=slot, reason=EndReason.SIGNAL, code=-9, lived_s=1.0))

    # What they were ended with them, and what they counted did not.
    ended = scraped(files)
    assert [] == list(ended.samples("fornada_reconciler_leader"))
    assert 6 == ended.value("fornada_store_requests_total", op="get", code="ok")
    progress_at = ended.value("fornada_last_progress_timestamp_seconds")
    assert 0 < progress_at

    work(files, [1])
    found = scraped(files)
    assert 1 == found.value("fornada_reconciler_leader", queue="q")
    assert 9 == found.value("fornada_store_requests_total", op="get", code="ok")
    assert 4.5 == found.value("fornada_store_request_seconds_sum", op="get")
    assert 9 == found.value("fornada_store_request_seconds_bucket", op="get", le="0.5")
    # A process that only starts is no progress.
    assert progress_at == found.value("fornada_last_progress_timestamp_seconds")
    assert kept == sorted(tmp_path.rglob("*.db"))


def test_a_disk_without_room_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(LocalDiskError, match=r"has no room for metrics .* unset FORNADA_METRICS"):
        SlotFiles(tmp_path / "missing", slots=1)
