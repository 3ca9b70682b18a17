"""A producer that follows docs/reference/messages.md to the letter gets a job."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import jsonschema
import numpy as np
import pytest
from celery import Celery
from kombu import Queue
from safetensors.numpy import load

from fornada import keys
from fornada.calls.frames import _MAX_REQUEST_HEADER_BYTES, MAX_CALL_FRAME_BYTES
from fornada.calls.redis import RedisCallChannel
from fornada.commands.schemas import PUBLIC_RECORDS
from fornada.coordination.redis import RedisCoordination
from fornada.formats.rows import Rows
from fornada.formats.tensor_file import to_tensor_file
from fornada.jobs.manifest import DEFAULT_TIME_TO_END, JobManifest
from fornada.jobs.outcome import JobState, ShardOutcome
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.store import JobStore
from fornada.jobs.summary import OutcomesDigest, summarise
from fornada.jobs.upkeep.endings import Endings
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.jobs.upkeep.reconciler import _ROUNDS_PER_CENSUS
from fornada.queue.envelope import MAX_ENVELOPE_BYTES, messages_of
from fornada.queue.message import MAX_BUNDLE, ShardMessage
from fornada.records import MAX_MESSAGE_BYTES, MAX_SHARDS, sha256_hex
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from fornada.tensors import InputTensor
from fornada.testing import TEST_KEYS
from fornada.trust.deployment_keys import Kind
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from producer import Client
from worker.app import create_app
from worker.calls.server import PredictServer
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.model_cache import ModelCache
from worker.host.deadlines import Deadlines
from worker.shards.service import ShardService

from ..deployment import publish_unloadable

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "reference" / "messages.md"


def blocks(info: str) -> list[str]:
    """The page's fenced blocks with the info string `info`, such as `sh example`."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{re.escape(info)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


#: Written from the page alone.
CLIENT = ["node", str(Path(__file__).with_name("client.mjs"))]
WITH_NODE = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
JOB_ID = "orders-0001"
CLASSES = [f"class {number}" for number in range(10)]
EXAMPLES = [(name, json.loads(text)) for name in PUBLIC_RECORDS for text in blocks(f"json {name}")]


class TenthEach:
    """A predictor for which every class is equally likely."""

    engine, streams, calls_ahead, tile_items, part_items = "tenth each", 1, 0, 4, None

    def rows_for(self, _item_shapes: Sequence[Sequence[int]]) -> int:
        """Four, of any shape."""
        return self.tile_items

    def predict_tile(self, tile: Rows) -> Rows:
        """float32 [tile_items, 10]."""
        return Rows(np.full((len(tile), len(CLASSES)), 0.1, np.float32))


@pytest.fixture
def model(settings: Settings) -> ModelManifest:
    """The example's model, published in the test's bucket."""
    objects = S3ObjectStore.from_settings(settings)
    return publish_unloadable(objects, "fashion-mnist", item_shape=[28, 28], classes=CLASSES)


class Shell:
    """A shell in its own folder, with `aws` and `redis-cli` on its path."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        programs = folder / "bin"
        programs.mkdir(parents=True)
        for name in ("aws", "redis-cli"):
            program = programs / name
            stand_in = Path(__file__).with_name("commands.py")
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in}" {name} "$@"\n')
            program.chmod(0o755)
        self._environ = {**environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def run(self, *scripts: str) -> str:
        """Run the scripts as one; return their output."""
        done = subprocess.run(
            ["sh", "-c", "".join(scripts)],
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path, environ: dict[str, str]) -> Shell:
    """A shell on the test's servers."""
    return Shell(tmp_path / "shell", environ)


def consume(app: Celery, queue: str) -> list[tuple[dict[str, Any], Any]]:
    """Headers and payload of every message in the queue, read and acknowledged by kombu."""
    taken: list[tuple[dict[str, Any], Any]] = []

    def take(body: Any, message: Any) -> None:
        taken.append((message.headers, body))
        message.ack()

    with app.connection_for_read() as connection:
        waiting = connection.default_channel.client.llen(queue)
        with connection.Consumer([Queue(queue)], callbacks=[take], accept=["json"]):
            while len(taken) < waiting:
                connection.drain_events(timeout=10)
    return taken


def one_example(name: str) -> Any:
    """The first example of that name."""
    return json.loads(blocks(f"json {name}")[0])


def test_every_record_has_an_example() -> None:
    assert [] == [name for name in PUBLIC_RECORDS if not blocks(f"json {name}")]


def test_examples_match_their_schemas() -> None:
    for name, example in EXAMPLES:
        schema = json.loads((DOCS / f"reference/schemas/{name}.schema.json").read_text())
        validator = jsonschema.Draft202012Validator(schema)

        validator.check_schema(schema)
        assert [] == [error.message for error in validator.iter_errors(example)], name


def test_examples_are_read_and_lose_nothing() -> None:
    for name, example in EXAMPLES:
        record = PUBLIC_RECORDS[name].from_json(json.dumps(example).encode(), where=str(PAGE))

        written = json.loads(record.to_json())
        assert example == {field: written[field] for field in example}


def test_the_worked_example_of_the_digest_is_right() -> None:
    final = one_example("job-final")
    outcomes = [
        ShardOutcome.from_json(text.encode(), where=str(PAGE))
        for text in blocks("json shard-outcome")
    ]
    (lines,) = blocks("text outcomes")

    assert sha256_hex(lines.encode()) == final["outcomes_sha256"]
    assert OutcomesDigest(outcomes).sha256 == final["outcomes_sha256"]
    # and the end counts what the outcomes say
    manifest = JobManifest.from_json(blocks("json job-manifest")[0].encode(), where=str(PAGE))
    counted = json.loads(summarise(manifest, outcomes, "CANCELLED", "wrong images").to_json())
    for made in ("ended_at", "started_at"):
        del counted[made], final[made]
    assert counted == final


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert f"at most {MAX_ENVELOPE_BYTES:,} bytes" in text
    assert f"every {_ROUNDS_PER_CENSUS}\nrounds" in text
    assert f"up to {MAX_BUNDLE} messages" in text
    assert f"at most {MAX_MESSAGE_BYTES:,} characters" in text
    assert f"1 to {MAX_SHARDS:,};" in text
    assert f"at most {_MAX_REQUEST_HEADER_BYTES:,} bytes" in text
    assert f"`created_at` and {DEFAULT_TIME_TO_END.days} days if absent" in text
    # The others are of no message: a model's, and a browser's.
    for kind in set(get_args(Kind)) - {"verdict", "session"}:
        assert f"`{kind}`" in text, kind


def test_the_example_of_a_signature_is_right() -> None:
    example = one_example("signature")

    assert sha256_hex(b"{}") == example["sha256"]
    assert TEST_KEYS.sign("manifest", "orders-0001", b"{}") == example["hmac"]


def test_the_example_of_a_tensor_file_is_right() -> None:
    takes = [
        InputTensor(name="photo", dtype="uint8", shape=[2]),
        InputTensor(name="words", dtype="string", shape=[None]),
        InputTensor(name="tokens", dtype="int32", shape=[None]),
    ]
    words = [np.array([b"a", b"bc"], object), np.array(["é".encode()], object)]
    tokens = [np.array([5, 6, 7], np.int32), np.array([8], np.int32)]
    photos = np.array([[1, 2], [3, 4]], np.uint8)

    data = to_tensor_file({"photo": photos, "words": words, "tokens": tokens}, takes)

    dtypes = {"U8": np.uint8, "I64": np.int64, "I32": np.int32}
    (tensors,), (shard,) = blocks("json tensor-file"), blocks("json tensor-shard")
    expected = {
        name: np.array(values, dtypes[dtype]).reshape(shape)
        for name, (dtype, shape, values) in json.loads(tensors).items()
    }
    found = load(data)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(array, found[name], strict=True)
    (ref,) = ShardInput.from_json(shard.encode(), where=str(PAGE)).objects
    assert (len(data), sha256_hex(data)) == (ref.size_bytes, ref.sha256)
    assert ref.key.endswith(f"/00000000-{sha256_hex(data)[:16]}.safetensors")


def test_the_envelope_carries_the_message_of_the_page() -> None:
    # given
    envelope = one_example("envelope")

    # when
    body = json.loads(base64.b64decode(envelope["body"]))

    # then
    assert one_example("body") == body
    assert [[one_example("shard-message")], {}, {}] == body
    assert keys.TASK_RUN_SHARD == envelope["headers"]["task"]


@pytest.fixture
def models(settings: Settings, tmp_path: Path) -> Iterator[ModelCache]:
    """A worker's models, for each of which every class is equally likely."""
    models = ModelCache(
        settings.model_copy(update={"max_latency_s": 0.0}),
        models=ModelStore(objects=S3ObjectStore.from_settings(settings)),
        build=lambda *_: TenthEach(),
        disk=ArtifactCache(tmp_path / "artifacts"),
    )
    yield models
    models.close()


@pytest.fixture
def service(settings: Settings, models: ModelCache) -> ShardService:
    """A worker's, for which every class is equally likely."""
    jobs = JobStore(objects=S3ObjectStore.from_settings(settings))
    coordination = RedisCoordination.from_settings(settings)
    return ShardService(
        settings,
        worker="test",
        jobs=jobs,
        manifests=Manifests(jobs=jobs),
        models=models,
        leases=coordination,
        endings=Endings(jobs=jobs, open_jobs=coordination, holder="test", lease_s=30),
        deadlines=Deadlines(),
        isolate=lambda job_id, shard: pytest.fail(f"{job_id}/{shard} was isolated"),
    )


def test_the_example_submits_a_job_that_runs(
    shell: Shell, settings: Settings, model: ModelManifest, service: ShardService
) -> None:
    # when
    shell.run(*blocks("sh example"))

    # then
    job = Client.from_settings(settings).job(JOB_ID)
    assert model.pin == job.manifest.model
    assert JobState.QUEUED == job.status().state
    assert {0} == set(RedisCoordination.from_settings(settings).progress(JOB_ID).enqueued)

    # when
    ((headers, (args, kwargs, _embed)),) = consume(create_app(settings), settings.queue)
    (message,) = messages_of(tuple(args), kwargs)
    ended = service.run(message)

    # then
    assert keys.TASK_RUN_SHARD == headers["task"]
    assert ShardMessage(job_id=JOB_ID, shard=0) == message
    assert "ok" == ended
    assert 2 * ["class 0"] == job.results().labels
    assert 0.1 == pytest.approx(job.results().probabilities)

    # when
    helpers = blocks("sh example")[0]
    printed = shell.run(helpers, *blocks("sh results"))

    # then
    assert '"state":"SUCCEEDED"' in printed
    assert 20 == printed.split().count("0.1")


@WITH_NODE
def test_a_client_in_javascript_submits_a_job_and_verifies_its_results(
    settings: Settings, model: ModelManifest, service: ShardService, environ: dict[str, str]
) -> None:
    # given a client that knows the page alone, and waits for the end
    with subprocess.Popen(
        [*CLIENT, "submit", "js-1"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # when a worker takes its message
        coordination = RedisCoordination.from_settings(settings)
        while not coordination.queue_length(settings.queue):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        ((_headers, (args, kwargs, _embed)),) = consume(create_app(settings), settings.queue)
        (message,) = messages_of(tuple(args), kwargs)
        assert "ok" == service.run(message)
        printed, said = process.communicate(timeout=60)

    # then
    assert 0 == process.returncode, said
    told = json.loads(printed)
    assert ("SUCCEEDED", 2, 10) == (told["state"], len(told["rows"]), len(told["rows"][0]))
    assert 0.1 == pytest.approx(told["rows"][1][9])
    results = Client.from_settings(settings).job("js-1").results()
    assert (["left", "right"], model.output) == (results.item_ids, results.output)

    # when an outcome is changed afterwards
    jobs = JobStore(objects=S3ObjectStore.from_settings(settings))
    held = jobs.outcome("js-1", 0)
    assert held is not None
    forged = held.model_copy(update={"item_ids_sha256": "0" * 64})
    jobs.objects.put(keys.JobKeys("js-1").outcome(0), forged.to_json())
    again = subprocess.run(
        [*CLIENT, "read", "js-1"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    # then
    assert 0 != again.returncode
    assert "the outcomes of js-1 are not those that it ended with" in again.stderr


@WITH_NODE
def test_a_client_in_javascript_signs_its_calls_and_verifies_the_answers(
    settings: Settings, model: ModelManifest, models: ModelCache, environ: dict[str, str]
) -> None:
    server = PredictServer(
        channel=RedisCallChannel.from_settings(settings, most_bytes=MAX_CALL_FRAME_BYTES),
        queue=settings.queue,
        models=models,
        deadlines=Deadlines(),
        deadline_s=60,
        end_process=lambda: None,
        deployment_keys=TEST_KEYS,
    )

    def call(key: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CLIENT, "predict"],
            env={**environ, "FORNADA_DEPLOYMENT_KEYS": key},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    # when it has the key of the page's example, and another one
    server.start()
    signed, refused = call(f"{'0' * 64},{'1' * 64}"), call("1" * 64)
    server.stop()

    # then
    assert 0 == signed.returncode, signed.stderr
    expected = np.full((2, len(CLASSES)), 0.1)
    assert expected == pytest.approx(np.array(json.loads(signed.stdout)))
    # since a refusal is not signed
    assert 0 != refused.returncode
    assert "no key signed the answer" in refused.stderr
