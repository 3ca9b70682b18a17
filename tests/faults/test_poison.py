"""Items, shards and a model that kill every process that touches them, on real servers."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from producer.job import Job, JobStatus

from .rig.checker import OutcomeHistory, check_job
from .rig.deployment import ITEMS_PER_SHARD, WORKERS, Deployment, repeatedly
from .rig.fault_control import FaultControl
from .rig.injected.fault_points import HANG, POISON
from .rig.processes import lives

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(900),
]

SHARDS = 6
MAX_ATTEMPTS = 2
#: Longer than the import of TensorFlow, which an isolated process does within it.
SHARD_DEADLINE_S = 30
#: Each death costs an import of TensorFlow and the supervisor's pause.
END_WITHIN_S = 600.0

WaitUntil = Callable[..., None]


@pytest.fixture(scope="module")
def worker_environ() -> dict[str, str]:
    """A hung shard is ended after half a minute."""
    return {"FORNADA_SHARD_DEADLINE_S": str(SHARD_DEADLINE_S)}


@pytest.fixture
def restarts(deployment: Deployment) -> Callable[[], int]:
    """The number of workers that the supervisor has restarted since the test began."""
    before = _restarts(deployment)
    return lambda: _restarts(deployment) - before


def test_an_item_that_kills_its_process_is_named_and_the_rest_complete(
    deployment: Deployment, faults: FaultControl, restarts: Callable[[], int]
) -> None:
    # given
    bad_shard, bad_position = 2, 5
    bad_item = bad_shard * ITEMS_PER_SHARD + bad_position
    images = _with(deployment.images(SHARDS * ITEMS_PER_SHARD), {bad_item: POISON})

    # when
    job, status = _run(deployment, images)

    # then
    assert ("PARTIAL", 1, len(images) - 1) == (
        status.state,
        status.items_failed,
        status.items_ok,
    )
    _check_rows(deployment, job, images, failed=[bad_item])
    assert "its worker died over it: signal 9" in job.results().errors[bad_item]
    outcome = deployment.jobs.outcome(job.id, bad_shard)
    assert outcome is not None
    assert outcome.isolated
    assert [bad_position] == [error.index for error in outcome.item_errors]
    assert MAX_ATTEMPTS == faults.kills("poison-item") == restarts()
    # All eight items, then the half with it, and so on.
    assert 4 == faults.kills("poison-item", process="worker.shards.isolated")


def test_items_that_kill_in_many_shards_take_no_other_item_along(
    deployment: Deployment, restarts: Callable[[], int]
) -> None:
    # given
    bad_items = [shard * 2 + 1 for shard in range(0, 20, 4)]
    images = _with(deployment.images(40), dict.fromkeys(bad_items, POISON))

    # when
    job, status = _run(deployment, images, items_per_shard=2)

    # then
    assert ("PARTIAL", len(bad_items)) == (status.state, status.items_failed)
    _check_rows(deployment, job, images, failed=bad_items)
    assert restarts() <= MAX_ATTEMPTS * len(bad_items)


def test_a_shard_whose_every_item_kills_is_dead_and_the_others_stay_readable(
    deployment: Deployment, faults: FaultControl, restarts: Callable[[], int]
) -> None:
    # given
    killed_before = faults.kills("poison-item", process="worker.shards.isolated")
    images = _with(deployment.images(10), dict.fromkeys([2, 3], POISON))

    # when
    job, status = _run(deployment, images, items_per_shard=2)

    # then
    assert ("PARTIAL", 1, 2) == (status.state, status.shards_dead, status.items_failed)
    outcome = deployment.jobs.outcome(job.id, 1)
    assert outcome is not None
    assert ("dead", "crash-loop") == (outcome.status, outcome.reason)
    assert MAX_ATTEMPTS + 1 == outcome.attempts
    _check_rows(deployment, job, images, failed=[2, 3])
    assert MAX_ATTEMPTS == restarts()
    # Both items together, then each alone.
    assert 3 == faults.kills("poison-item", process="worker.shards.isolated") - killed_before


def test_a_model_that_kills_its_process_holds_its_job_up_and_a_good_one_works_meanwhile(
    deployment: Deployment,
    faults: FaultControl,
    restarts: Callable[[], int],
    wait_until: WaitUntil,
) -> None:
    # given
    deployment.publish("poison", seed=8)
    images = deployment.images(SHARDS * ITEMS_PER_SHARD)

    # when
    client = deployment.client(max_attempts=MAX_ATTEMPTS)
    job = client.submit(images, model="poison:1", items_per_shard=ITEMS_PER_SHARD)

    # then: a worker with more memory may load it
    wait_until(
        lambda: "the process that loads it dies" in (job.status().reason or ""),
        timeout_s=END_WITHIN_S,
    )
    good, good_status = _run(deployment, images)
    assert "SUCCEEDED" == good_status.state
    _check_rows(deployment, good, images, failed=[])
    # Each death costs at least one attempt of a shard.
    assert MAX_ATTEMPTS <= restarts() <= MAX_ATTEMPTS * SHARDS
    assert faults.kills("poison-model", process="worker.shards.isolated") <= 2 * WORKERS * 4
    assert "CANCELLED" == job.cancel().state
    assert {} == {s: o for s in range(SHARDS) if (o := deployment.jobs.outcome(job.id, s))}


def test_an_item_that_hangs_its_process_for_ever_is_named_and_the_rest_complete(
    deployment: Deployment, restarts: Callable[[], int]
) -> None:
    # given
    images = _with(deployment.images(10), {5: HANG})

    # when
    job, status = _run(deployment, images, items_per_shard=2)

    # then
    assert ("PARTIAL", 1) == (status.state, status.items_failed)
    _check_rows(deployment, job, images, failed=[5])
    outcome = deployment.jobs.outcome(job.id, 2)
    assert outcome is not None
    assert outcome.isolated
    assert "its worker died over it: signal 9" in job.results().errors[5]
    assert MAX_ATTEMPTS == restarts()


def test_a_process_of_its_own_that_hangs_does_not_outlive_its_worker(
    deployment: Deployment, faults: FaultControl, wait_until: WaitUntil
) -> None:
    # given: native code holds the interpreter, so that the process notices nothing
    hung_before = faults.hangs(process="worker.shards.isolated")
    images = _with(deployment.images(2), {1: HANG})
    client = deployment.client(max_attempts=1)
    job = client.submit(images, model="m:1", items_per_shard=2)
    wait_until(
        lambda: faults.hangs(process="worker.shards.isolated") > hung_before, timeout_s=END_WITHIN_S
    )
    ((process, worker),) = _isolated(job.id).items()

    # when
    os.kill(worker, signal.SIGKILL)

    # then: well before its deadline
    wait_until(lambda: not lives(process), timeout_s=SHARD_DEADLINE_S / 3)
    status = job.wait(timeout_s=END_WITHIN_S)
    assert ("PARTIAL", 1) == (status.state, status.items_failed)
    _check_rows(deployment, job, images, failed=[1])


def _isolated(job_id: str) -> dict[int, int]:
    """Isolated processes at work on a shard of the job, each with its worker's process id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"worker.shards.isolated\0{job_id}".encode() in (process / "cmdline").read_bytes():
                state = (process / "stat").read_text().rpartition(")")[2].split()
                found[int(process.name)] = int(state[1])
    return found


def _run(
    deployment: Deployment,
    images: NDArray[np.uint8],
    *,
    model: str = "m:1",
    items_per_shard: int = ITEMS_PER_SHARD,
) -> tuple[Job, JobStatus]:
    client = deployment.client(max_attempts=MAX_ATTEMPTS)
    history = OutcomeHistory(deployment.objects)
    job = client.submit(images, model=model, items_per_shard=items_per_shard)
    with repeatedly(lambda: history.observe(job.id), interval_s=1):
        status = job.wait(timeout_s=END_WITHIN_S)
    history.observe(job.id)
    history.check()
    return job, status


def _with(images: NDArray[np.uint8], marks: dict[int, bytes]) -> NDArray[np.uint8]:
    for item, mark in marks.items():
        images[item, 0] = np.frombuffer(mark, np.uint8)
    return images


def _check_rows(
    deployment: Deployment, job: Job, images: NDArray[np.uint8], *, failed: list[int]
) -> None:
    """Check that only `failed` items have a reason and no row; all others have their bytes."""
    expected = deployment.predict(images)
    expected[failed] = np.nan
    results = job.results(partial=True)
    assert failed == sorted(results.errors)
    assert expected.tobytes() == results.probabilities.tobytes()
    check_job(
        deployment.objects,
        job.id,
        expected_probabilities=expected,
        max_attempts=MAX_ATTEMPTS,
    )


def _restarts(deployment: Deployment) -> int:
    return deployment.worker_log().count("worker ended, starting another")
