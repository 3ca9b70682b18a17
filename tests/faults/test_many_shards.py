"""A job of 100,000 shards on real servers ends once, in bounded memory."""

import os
import sys
import time
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fornada import keys
from fornada.formats.npy import to_npy
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.records import ObjectRef, now, sha256_hex
from producer.job import Job, JobStatus

from .rig.deployment import ITEM_SHAPE, MAX_ATTEMPTS, WORKERS, Deployment, deployed

SHARDS = 100_000
#: Watched for changes.
FIRST_SHARDS = 2_000
#: Ten times its duration on two idle cores.
END_WITHIN_S = 4 * 3600.0
#: Room for the manifest of all shards and for reading it; nothing else in a worker grows.
MOST_GROWTH_MIB = 600
#: Room for the window's messages, a bitmap, and the leases.
MOST_REDIS_MIB = 16

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(END_WITHIN_S + 3600),
]


def test_a_job_of_very_many_shards_ends_in_bounded_memory(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # given
    tell = request.config.get_terminal_writer().line
    with deployed(tmp_path) as deployment:
        worker_mib_before, own_mib_before = _worker_mib(deployment), _resident_mib(os.getpid())

        # when
        began_at = time.monotonic()
        job = _submit(deployment)
        submitted_at = time.monotonic()
        most_redis_mib = 0
        most_queued = 0
        first_etags: dict[str, str] = {}

        def watch(status: JobStatus) -> None:
            nonlocal most_redis_mib, most_queued
            most_redis_mib = max(most_redis_mib, deployment.redis.info("memory")["used_memory"])
            most_queued = max(most_queued, deployment.redis.llen(deployment.queue))
            if not first_etags and status.shards_done > FIRST_SHARDS:
                first_etags.update(_etags(deployment, job))

        status = job.wait(timeout_s=END_WITHIN_S, on_progress=watch)

        # then
        ended_at = time.monotonic()
        worker_mib, own_mib = _worker_mib(deployment), _resident_mib(os.getpid())
        most_redis_mib //= 2**20
        tell(
            f"\n{SHARDS} shards: submitted in {submitted_at - began_at:.0f} s, done in "
            f"{ended_at - submitted_at:.0f} s; MiB: worker {worker_mib_before} -> {worker_mib}, "
            f"producer {own_mib_before} -> {own_mib}, Redis at most {most_redis_mib}; "
            f"queue at most {most_queued}; manifest {len(job.manifest.to_json()) / 1e6:.0f} MB"
        )
        assert ("SUCCEEDED", SHARDS) == (status.state, status.items_ok)
        assert worker_mib - worker_mib_before < MOST_GROWTH_MIB
        assert own_mib - own_mib_before < MOST_GROWTH_MIB
        assert most_redis_mib < MOST_REDIS_MIB
        # The producer and the reconciler may both fill the same room, once.
        assert most_queued <= 2 * deployment.settings.enqueue_window
        deployment.check(job, images=np.repeat(_item(), SHARDS, axis=0))
        # The first outcomes stand for all: none has changed.
        assert first_etags.items() <= _etags(deployment, job).items()
        assert len(first_etags) > FIRST_SHARDS // 2


def _etags(deployment: Deployment, job: Job) -> dict[str, str]:
    """The etags of the first shards' outcomes that exist."""
    blocks = keys.JobKeys(job.id).outcome_blocks(FIRST_SHARDS)
    found = (info for block in blocks for info in deployment.objects.list(block))
    return {info.key: info.etag for info in found}


def _item() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (1, *ITEM_SHAPE), np.uint8)


def _submit(deployment: Deployment) -> Job:
    """Submit a job whose shards all read the same object."""
    client, data = deployment.client(), to_npy(_item())
    deployment.objects.put("inputs/one.npy", data)
    image = ObjectRef(key="inputs/one.npy", size_bytes=len(data), sha256=sha256_hex(data))
    model = client.model("m:1")
    manifest = JobManifest(
        job_id="many",
        model=model.pin,
        item_shape=list(model.input.fixed_shape),
        item_dtype="uint8",
        classes=model.output.columns,
        shards=Shards(repeat(ShardInput(objects=[image], item_count=1), SHARDS)),
        max_attempts=MAX_ATTEMPTS,
        created_at=now(),
    )
    client._creator.create_and_enqueue(manifest, new=True)
    return client.job(manifest.job_id)


def _worker_mib(deployment: Deployment) -> int:
    """Resident memory of the largest worker process."""
    pids = deployment.worker_pids()
    assert WORKERS == len(pids)
    return max(_resident_mib(pid) for pid in pids)


def _resident_mib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) // 1024
