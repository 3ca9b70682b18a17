"""Producers that are killed between any two steps of a submission, on real servers."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fornada import keys
from fornada.errors import JobNotFoundError
from fornada.formats.npy import from_npy
from fornada.jobs.manifest import JobManifest

from .rig.checker import OutcomeHistory
from .rig.deployment import END_WITHIN_S, ITEMS_PER_SHARD, Deployment, Images
from .rig.fault_control import FaultControl

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="processes kill themselves"),
    pytest.mark.timeout(300),
]

SHARDS = 200
#: They are registered in Redis in one round trip.
SMALL_JOBS = 128

#: Submits one job under a key, or many small ones.
_PRODUCER = """
import sys
import numpy as np
from producer.client import Client

path, key = sys.argv[1:]
images, client = np.load(path), Client.from_env()
if key:
    client.submit(images, model="m:1", idempotency_key=key)
else:
    client.submit_many(list(images[:, None]), model="m:1")
"""

Produce = Callable[[Images, str], int]


@pytest.fixture
def produce(deployment: Deployment, faults: FaultControl, tmp_path: Path) -> Produce:
    """Runs a producer in its own process; returns the exit code."""

    def run(images: Images, key: str) -> int:
        path = tmp_path / "images.npy"
        np.save(path, images)
        environ = {**os.environ, **deployment.environ, **faults.environ}
        command = [sys.executable, "-P", "-c", _PRODUCER, str(path), key]
        return subprocess.run(command, env=environ, timeout=60).returncode

    return run


@pytest.mark.parametrize(("point", "passage"), [("input-put", 50), ("job-listed", 1)])
def test_killed_before_the_manifest_there_is_no_job_and_the_next_one_makes_it(
    point: str, passage: int, deployment: Deployment, faults: FaultControl, produce: Produce
) -> None:
    # given
    images = deployment.images(SHARDS * ITEMS_PER_SHARD)
    key = f"killed-at-{point}"
    faults.arm(point, passage)

    # when
    assert -signal.SIGKILL == produce(images, key)

    # then
    with pytest.raises(JobNotFoundError):
        deployment.client().job(key)
    assert 0 == produce(images, key)
    deployment.check_undisturbed(deployment.client().job(key), OutcomeHistory(deployment.objects))


@pytest.mark.parametrize(
    ("point", "passage"),
    [("manifest-put", 1), ("message-made", 1), ("messages-sent", 1), ("message-made", SHARDS - 1)],
)
def test_killed_between_manifest_and_last_message_the_job_is_done(
    point: str, passage: int, deployment: Deployment, faults: FaultControl, produce: Produce
) -> None:
    # given
    images = deployment.images(SHARDS * ITEMS_PER_SHARD)
    key = f"killed-at-{point}-{passage}"
    faults.arm(point, passage)

    # when
    assert -signal.SIGKILL == produce(images, key)

    # then
    history = OutcomeHistory(deployment.objects)
    job = deployment.client().job(key)
    history.observe(key)
    deployment.check_undisturbed(job, history)
    # Submitted again, it is the same job.
    assert 0 == produce(images, key)
    deployment.check_undisturbed(job, history)


@pytest.mark.parametrize(
    ("killed_at", "manifests"),
    [
        (("jobs-admitted", 1), {0}),
        # Four threads write.
        (("manifest-put", 50), {50, 51, 52, 53}),
        (("message-made", 2), {SMALL_JOBS}),
        (("messages-sent", 1), {SMALL_JOBS}),
    ],
)
def test_killed_among_small_jobs_those_that_have_a_manifest_are_done_and_others_are_none(
    killed_at: tuple[str, int],
    manifests: set[int],
    deployment: Deployment,
    faults: FaultControl,
    produce: Produce,
) -> None:
    # given
    images = deployment.images(SMALL_JOBS)
    known = _job_ids(deployment)
    faults.arm(*killed_at)

    # when
    assert -signal.SIGKILL == produce(images, "")

    # then
    job_ids = _job_ids(deployment) - known
    assert len(job_ids) in manifests
    client, submitted = deployment.client(), {image.tobytes() for image in images}
    for job_id in job_ids:
        job = client.job(job_id)
        image = _image_of(deployment, job.manifest)
        submitted.remove(image.tobytes())
        assert "SUCCEEDED" == job.wait(timeout_s=END_WITHIN_S).state
        deployment.check(job, images=image)


def _job_ids(deployment: Deployment) -> set[str]:
    """Jobs with a manifest; of an interrupted put rclone keeps an empty folder."""
    return {
        job_id
        for job_id in deployment.jobs.job_ids()
        if any(deployment.objects.list(keys.JobKeys(job_id).manifest))
    }


def _image_of(deployment: Deployment, manifest: JobManifest) -> Images:
    (spec,) = manifest.shards
    data = deployment.jobs.read_checked(spec.objects[0])
    return np.asarray(from_npy(data, where="input"), np.uint8)
