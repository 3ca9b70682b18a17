"""Real workers on real servers: right to the byte, and nothing lost when they are stopped."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from fornada import keys
from fornada.coordination.redis import RedisCoordination
from fornada.formats.npy import to_npy
from fornada.jobs.outcome import JobState
from fornada.jobs.store import JobStore
from fornada.jobs.summary import OutcomesDigest
from fornada.queue.message import ShardMessage
from fornada.queue.quarantine import Quarantine
from fornada.records import sha256_hex
from fornada.redis_server import keys as redis_keys
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from model_store.store import ModelStore
from model_store.testing import draft_for_test
from producer.client import Client
from worker.compute.tile_choice import Calibration
from worker.host.hardware import granted_cores

from ...arrays import stored_rows
from ...junk import EXAMPLES, envelope
from .conftest import ITEM_SHAPE, START_S
from .programs.held_worker import GO_ON, HELD_AT

Deploy = Callable[..., Any]
Wait = Callable[..., None]
AtWork = Callable[..., tuple[Any, ...]]
#: A killed worker's shards are tried again after a second.
SOON = {"lease_s": 1.0, "reconcile_interval_s": 0.5, "requeue_after_s": 1.0}


def test_exact_on_another_engine_is_wrong_usage(deploy: Deploy) -> None:
    deployment, start = deploy()

    assert 2 == start("--exact").wait(START_S)
    assert "error: FORNADA_ENGINE=test has no exact form" in deployment.log()


def test_the_first_worker_chooses_and_keeps_the_rows_of_a_call(
    deploy: Deploy, images: np.ndarray
) -> None:
    # given a worker that is not told how many
    deployment, start = deploy(max_batch_size=None)
    start()

    # when
    job = deployment.client.submit(images, model="m", items_per_shard=100)
    assert JobState.SUCCEEDED == job.wait(timeout_s=START_S).state, deployment.log()

    # then its choice is in the store, for the next one
    (key,) = [info.key for info in deployment.objects.list("calibrations/")]
    kept = Calibration.from_json(deployment.objects.get(key).data, where=key)
    outcomes = [JobStore(objects=deployment.objects).outcome(job.id, shard) for shard in range(3)]
    assert {kept.tile_items} == {outcome.tile_items for outcome in outcomes}
    assert "test 1" == kept.engine

    # and is shown to people
    shown = deployment.run("doctor")
    assert 0 == shown.returncode, shown.stdout
    assert f"; {kept.tile_items} items a call (as kept)" in shown.stdout
    assert f"makes {granted_cores()} predict calls at a time" in shown.stdout
    assert re.search(
        r"ok   threads: a worker process has \d+ shards in hand, and takes", shown.stdout
    )


def test_the_bytes_do_not_depend_on_how_the_job_is_split(shared: Any, images: np.ndarray) -> None:
    jobs = [shared.client.submit(images, model="m", items_per_shard=n) for n in (7, 64, 300)]

    for job in jobs:
        assert shared.is_right(job, images)
    # nor what was predicted
    figures = [job.status().figures for job in jobs]
    assert [43, 5, 1] == [each.shards for each in figures]
    (first,), *others = [each.predicted for each in figures]
    assert 300 == first.items == sum(each.items for each in first.classes)
    for (other,) in others:
        assert (first.classes, first.confidence) == (other.classes, other.confidence)
    assert all(each.cpu_s > 0 for each in figures)


def test_a_finished_job_is_run_again_and_compared(shared: Any, images: np.ndarray) -> None:
    job = shared.client.submit(images, model="m", items_per_shard=37)
    assert JobState.SUCCEEDED == job.wait(timeout_s=START_S).state, shared.log()

    # when nothing was changed
    same = shared.run("jobs", "verify", job.id)
    assert (0, "300 items in 9 shards are the same to the byte\n") == (
        same.returncode,
        same.stdout,
    )

    # when one value is not what the model gives, in all that the store says
    jobs = JobStore(objects=shared.objects)
    outcome = jobs.outcome(job.id, 3)
    forged = np.array(stored_rows(jobs, outcome))
    forged[5, 1] += 0.25
    data = to_npy(forged)
    ref = outcome.data.model_copy(update={"sha256": sha256_hex(data), "inline": None})
    shared.objects.put(ref.key, data)
    forged_outcome = outcome.model_copy(update={"data": ref})
    shared.objects.put(keys.JobKeys(job.id).outcome(3), forged_outcome.to_json())
    digest = OutcomesDigest(jobs.outcome(job.id, shard) for shard in range(9))
    final = jobs.final(job.id).model_copy(update={"outcomes_sha256": digest.sha256})
    shared.objects.put(keys.JobKeys(job.id).final, final.to_json())
    other = shared.run("jobs", "verify", job.id, "--json")

    # then it is named
    assert 1 == other.returncode
    told = json.loads(other.stdout)
    assert (False, 1) == (told["same"], told["shards_differing"])
    assert (3, 116, "b") == tuple(
        told["first_difference"][name] for name in ("shard", "item", "column")
    )
    assert "error: 1 of 9 shards of job" in other.stderr
    assert "Traceback" not in other.stderr


def test_a_message_pushed_with_one_raw_command_is_run(shared: Any, images: np.ndarray) -> None:
    # given a job whose producer never called the client's queue
    ready = shared.client.submit(images[:10], model="m")
    ready.wait(timeout_s=START_S)
    raw = ready.manifest.model_copy(update={"job_id": "from-node"})
    JobStore(objects=shared.objects).create(raw)

    with shared.redis() as client:
        message = {"schema_version": 1, "job_id": "from-node", "shard": 0}
        client.lpush(shared.settings.queue, json.dumps(envelope(message)))

    job = shared.client.job("from-node")
    assert shared.is_right(job, images[:10])


def test_junk_of_every_kind_goes_to_the_quarantine_and_the_next_job_runs(
    shared: Any, images: np.ndarray
) -> None:
    # given a worker that is up, and elements of the queue that are no messages
    shared.client.submit(images[:3], model="m").wait(timeout_s=START_S)
    (pid,) = shared.worker_pids()
    with shared.redis() as client:
        client.lpush(shared.settings.queue, *EXAMPLES.values())

    # when a job follows
    job = shared.client.submit(images, model="m", items_per_shard=50)

    # then it is run by the same process, and the log has a line about them
    assert JobState.SUCCEEDED == job.wait(timeout_s=START_S).state, shared.log()
    assert [pid] == shared.worker_pids()
    assert len(EXAMPLES) == len(Quarantine.from_settings(shared.settings).entries())
    lines = [json.loads(line) for line in shared.log().splitlines() if line.startswith("{")]
    told = [line for line in lines if "quarantin" in line["event"]]
    assert ["message quarantined"] == [line["event"] for line in told]
    assert [] == [line for line in lines if "exception" in line or "onnection" in line["event"]]


def test_the_health_check_sees_the_worker(shared: Any, images: np.ndarray) -> None:
    shared.client.submit(images[:3], model="m").wait(timeout_s=START_S)

    done = shared.run("worker", "--health")

    assert (0, "1 workers show life, 0 do not\n") == (done.returncode, done.stdout)


@pytest.fixture
def at_work(deploy: Deploy, images: np.ndarray, wait_until: Wait) -> Callable[..., tuple[Any, ...]]:
    """A deployment with a worker in the middle of a job of 60 shards, and what starts another."""

    def begin(**settings: object) -> tuple[Any, ...]:
        deployment, start = deploy(delay_s=0.05, worker_threads=1, **settings)
        worker = start()
        job = deployment.client.submit(images[:60], model="m", items_per_shard=1)
        wait_until(lambda: job.status().shards_done >= 5, START_S)
        return deployment, job, worker, start

    return begin


def test_sigterm_finishes_what_is_held_and_gives_the_rest_back(
    at_work: AtWork, images: np.ndarray
) -> None:
    deployment, job, first, start = at_work(requeue_after_s=3600.0, max_inline_bytes=0)

    # when it is told to stop
    first.send_signal(signal.SIGTERM)
    code = first.wait(30)

    # then it ends well, holds nothing, and every shard has an outcome or waits in the queue
    assert 0 == code
    assert "Fatal Python error" not in deployment.log()
    assert [] == deployment.worker_pids()
    done = job.status().shards_done
    with deployment.redis() as client:
        assert [] == list(client.scan_iter(f"fornada:lease:{job.id}:*"))
        assert 60 - done == client.llen(deployment.settings.queue)
    assert done < 60

    # and another continues from there
    start()
    assert deployment.is_right(job, images[:60])


def test_another_process_finishes_what_a_killed_one_held(
    at_work: AtWork, images: np.ndarray
) -> None:
    deployment, job, *_ = at_work(**SOON)
    jobs = JobStore(objects=deployment.objects)
    before = {outcome.shard: outcome for outcome in jobs.outcomes(job.id, range(60))}

    # when it is killed
    (pid,) = deployment.worker_pids()
    os.kill(pid, signal.SIGKILL)

    # then the supervisor starts another, which finishes the job
    assert deployment.is_right(job, images[:60])
    # and no outcome that was committed has changed
    assert before == {shard: jobs.outcome(job.id, shard) for shard in before}


def test_a_wrong_setting_ends_the_command_with_one_line(shared: Any) -> None:
    done = shared.run("worker", FORNADA_LEASE_S="0")

    assert 2 == done.returncode
    assert done.stderr.startswith("error: FORNADA_LEASE_S is not usable")
    assert 1 == len(done.stderr.splitlines())


def test_a_worker_survives_a_wiped_broker(at_work: AtWork, images: np.ndarray) -> None:
    deployment, job, *_ = at_work(**SOON)

    with deployment.redis() as client:
        client.flushdb()

    assert deployment.is_right(job, images[:60])
    assert RedisCoordination.from_settings(deployment.settings).leader() is not None


# The protocol alone, with a fake engine.


class _LosingSender:
    """A `Sender` whose messages are lost."""

    def enqueue(
        self,
        messages: Iterable[ShardMessage],
        *,
        together: int = 1,
        traces: Mapping[str, str] | None = None,
    ) -> None:
        """Lose them."""

    def reserved(self) -> set[ShardMessage]:
        """None."""
        return set()


@pytest.fixture
def start_held_worker(
    settings: Settings, environ: dict[str, str], tmp_path: Path
) -> Iterator[Callable[[], None]]:
    """Publish a model, and start `held_worker.py` when called; it is ended after the test."""
    golden = np.zeros((1, *ITEM_SHAPE), np.uint8)
    ModelStore(objects=S3ObjectStore.from_settings(settings)).publish(
        draft_for_test(name="m", item_shape=ITEM_SHAPE, item_dtype="uint8", classes=["a"]),
        artifact=b"weights",
        golden_inputs=golden,
        golden_outputs=np.zeros((1, 1), np.float32),
        check=lambda _artifact: None,
    )
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with (tmp_path / "held.log").open("wb") as log:
            program = Path(__file__).with_name("programs") / "held_worker.py"
            command = [sys.executable, str(program)]
            quick = {"FORNADA_RECONCILE_INTERVAL_S": "0.2", "FORNADA_ENGINE": "test"}
            started.append(
                subprocess.Popen(command, env={**environ, **quick}, stdout=log, stderr=log)
            )

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_message_is_acknowledged_after_its_outcome_is_committed_and_not_before(
    settings: Settings, start_held_worker: Callable[[], None], images: np.ndarray, wait_until: Wait
) -> None:
    url = settings.redis_url.get_secret_value()
    with redis.Redis.from_url(url, decode_responses=True, socket_timeout=2 * START_S) as client:
        # given a shard at work
        job = Client.from_settings(settings).submit(images[:3], model="m")
        start_held_worker()
        assert "predict" == _where_held(client)
        assert (1, 0) == (client.hlen("fornada:unacked"), job.status().shards_done)

        # when its outcome is committed, and the task has not returned
        client.lpush(GO_ON, "")
        assert "ok" == _where_held(client)
        assert JobState.SUCCEEDED == job.status().state
        assert 1 == client.hlen("fornada:unacked")

        # then it is acknowledged as the task returns
        client.lpush(GO_ON, "")
        wait_until(lambda: 0 == client.hlen("fornada:unacked"), 30)


def test_a_job_whose_messages_were_all_lost_is_done_by_one_worker_alone(
    settings: Settings, start_held_worker: Callable[[], None], images: np.ndarray, wait_until: Wait
) -> None:
    url = settings.redis_url.get_secret_value()
    with redis.Redis.from_url(url, decode_responses=True) as client:
        # given a worker that has done a job, and a job of which no message came to the queue
        client.lpush(GO_ON, *[""] * 100)
        start_held_worker()
        first = Client.from_settings(settings).submit(images[:3], model="m")
        assert JobState.SUCCEEDED == first.wait(timeout_s=START_S).state
        coordination = RedisCoordination.from_settings(settings)
        jobs = S3ObjectStore.from_settings(settings)
        lost = Client(
            objects=jobs, coordination=coordination, sender=_LosingSender(), settings=settings
        )

        # when
        job = lost.submit(images[3:5], model="m")
        client.delete(redis_keys.JobStateKeys(job.id).enqueued)

        # then
        wait_until(lambda: JobState.SUCCEEDED == job.status().state, 30)


def _where_held(client: redis.Redis) -> str:
    """Where `held_worker.py` is held next."""
    popped = client.brpop([HELD_AT], START_S)
    assert popped is not None, "it does not come there"
    return popped[1]


# Small jobs.


def test_many_small_jobs_are_done_each_with_its_own_bytes(shared: Any, images: np.ndarray) -> None:
    jobs = shared.client.submit_many([images[n : n + 1] for n in range(100)], model="m")

    together = np.concatenate([shared.probabilities(job) for job in jobs])

    large = shared.client.submit(images, model="m")
    assert shared.probabilities(large)[:100].tobytes() == together.tobytes()


def test_small_jobs_are_done_though_redis_is_emptied_once_they_are_submitted(
    deploy: Deploy, images: np.ndarray
) -> None:
    # given jobs that were submitted, and nothing in Redis any more
    deployment, start = deploy()
    jobs = deployment.client.submit_many([images[n : n + 1] for n in range(40)], model="m")
    jobs.append(deployment.client.submit(images[:40], model="m", items_per_shard=10))
    with deployment.redis() as client:
        client.flushall()

    # when a worker comes up
    start()

    # then each is done, and the same bytes come out
    *ones, whole = (deployment.probabilities(job) for job in jobs)
    assert whole.tobytes() == np.concatenate(ones).tobytes()
