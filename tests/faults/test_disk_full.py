"""Full disks: the store's, and the one of the workers' model cache."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fornada import keys
from fornada.errors import StoreUnavailableError
from fornada.local import s3_server
from fornada.local.stack import Stack

from .rig.checker import OutcomeHistory
from .rig.deployment import STARTED_WITHIN_S, WORKERS, Deployment, deployed
from .rig.fault_control import FaultControl
from .rig.tiny_disk import TinyDisk, tiny_disk

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="needs mount namespaces"),
    pytest.mark.timeout(600),
]

SHARDS = 200
_MIB = 1024 * 1024
_FILLER = "filler"

WaitUntil = Callable[..., None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[TinyDisk]:
    """A disk with room for the store of one job of SHARDS shards."""
    mount_point = tmp_path / "disk"
    mount_point.mkdir()
    with tiny_disk(mount_point, size_bytes=16 * _MIB) as found:
        yield found


def test_a_store_whose_disk_is_full_for_a_while_loses_nothing(
    disk: TinyDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    # given: the S3 server's folder is the disk
    command = s3_server._command
    monkeypatch.setattr(
        s3_server,
        "_command",
        # Resolved, the path would lead to the empty folder outside the namespace.
        lambda port, folder: [*command(port, folder)[:-1], str(disk.folder)],
    )
    (tmp_path / "stack").mkdir(mode=0o700)
    (tmp_path / "stack" / "s3").symlink_to(disk.folder)
    faults = FaultControl(tmp_path / "fault-points")
    faults.slow_down()
    with deployed(tmp_path, environ=faults.environ) as deployment:
        history = OutcomeHistory(deployment.objects)
        # The server never sees files that others create; this one grows.
        deployment.objects.put(_FILLER, b"")
        job = deployment.submit(SHARDS)
        wait_until(lambda: deployment.done_count(job) >= 20, timeout_s=STARTED_WITHIN_S)

        # when
        disk.fill(f"{deployment.objects.bucket}/{_FILLER}")

        # then: shards are deferred, and new work is refused
        faults.disarm()
        wait_until(lambda: _deferrals(deployment, "object store") >= 5, timeout_s=STARTED_WITHIN_S)
        with pytest.raises(StoreUnavailableError, match="failed"):
            deployment.submit(1, job_id="refused")
        history.observe(job.id)
        assert deployment.done_count(job) < SHARDS
        assert [] == list(deployment.objects.list(keys.JobKeys(job.id).dead_prefix))

        # when: there is space again
        deployment.objects.delete(_FILLER)

        # then
        deployment.check_undisturbed(job, history)
        deployment.check_undisturbed(deployment.submit(1, job_id="refused"), history)


def test_a_full_disk_under_the_workers_cache_delays_a_job_and_no_more(
    disk: TinyDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    # given: workers without a model in their cache
    cache = disk.folder / "cache"
    cache.mkdir(mode=0o700)
    (tmp_path / "stack").mkdir(mode=0o700)
    (tmp_path / "stack" / "cache").symlink_to(cache)
    environ_of = Stack._worker_environ
    monkeypatch.setattr(
        Stack,
        "_worker_environ",
        # A worker takes no link for its cache.
        lambda stack: {**environ_of(stack), "FORNADA_CACHE_DIR": str(cache)},
    )
    with deployed(tmp_path) as deployment:
        history = OutcomeHistory(deployment.objects)

        # when
        disk.fill(_FILLER)
        job = deployment.submit(SHARDS)

        # then: no worker ends, and no shard
        wait_until(lambda: deployment.worker_log().count("model declined") >= WORKERS, timeout_s=60)
        assert "cannot keep a model" in (job.status().reason or "")
        assert 0 == deployment.done_count(job)
        assert "worker ended" not in deployment.worker_log()
        assert "health file not written" not in deployment.worker_log()

        # when: a worker starts while the disk has no space for its health file
        workers = deployment.worker_pids()
        os.kill(min(workers), signal.SIGKILL)
        wait_until(lambda: "worker ended" in deployment.worker_log(), timeout_s=60)
        # The killed worker's health file is gone by now, and its space is free.
        disk.fill(_FILLER)
        started = deployment.worker_log().count("worker starts")
        wait_until(
            lambda: deployment.worker_log().count("worker starts") > started,
            timeout_s=STARTED_WITHIN_S,
        )
        wait_until(lambda: "health file not written" in deployment.worker_log(), timeout_s=60)
        assert workers > deployment.worker_pids()
        (disk.folder / _FILLER).unlink()

        # then
        deployment.check_undisturbed(job, history)
        deployment.wait_until_ready(wait_until)


def _deferrals(deployment: Deployment, why: str) -> int:
    """The number of shards deferred for a reason that says `why`."""
    lines = deployment.worker_log().splitlines()
    return len([line for line in lines if "shard deferred" in line and why in line])
