"""Each role by hand: look, submit, watch, fetch, cancel, check."""

import csv
import gzip
import json
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fornada.storage.s3.store import S3ObjectStore
from producer.client import Client

# The worker and this process import TensorFlow.
pytestmark = pytest.mark.timeout(400)

_COUNT = 12


def test_models_are_listed_and_shown(live: Any) -> None:
    (listed,) = [m for m in live.answer("models", "list")["models"] if m["name"] == "digits"]
    shown = live.answer("models", "show", "digits@prod")

    assert ([1], {"prod": 1}) == (listed["versions"], listed["aliases"])
    assert ("digits:1", ["prod"]) == (shown["model"], shown["aliases"])
    assert listed["digest"] == shown["manifest"]["artifact"]["sha256"]
    (taken,) = shown["manifest"]["inputs"]
    assert ([8, 8], "uint8") == (taken["shape"], taken["dtype"])
    done = live.run("models", "list")
    assert (0, "") == (done.returncode, done.stderr)
    assert "digits:1" in done.stdout


def test_every_kind_of_input_gives_the_same_probabilities(
    live: Any, folder: Path, expected: NDArray[np.float32], tmp_path: Path
) -> None:
    options = ["--model", "digits@prod", "--items-per-shard", "5", "--wait", "--timeout", "60"]
    output = tmp_path / "probabilities.npy"

    # The fixture `job_id` submits a folder.
    for text in ("images.idx.gz", "s3://camera/arrays/"):
        job = live.answer("submit", text, *options, cwd=folder)

        assert ("SUCCEEDED", _COUNT, 0) == (job["state"], job["items_ok"], job["items_failed"])
        assert ("digits:1", _COUNT) == (job["model"], job["items"])
        done = live.run(
            "jobs", "results", job["job_id"], "--format", "npy", "--output", str(output)
        )
        assert 0 == done.returncode, done.stderr
        assert expected.tobytes() == np.load(output).tobytes(), text


def test_results_are_the_same_in_every_format(
    live: Any, job_id: str, expected: NDArray[np.float32], tmp_path: Path
) -> None:
    from pyarrow import parquet  # noqa: PLC0415 - a second that one test needs

    for fmt in ("parquet", "csv", "jsonl"):
        output = tmp_path / f"results.{fmt}"
        arguments = ["--format", fmt, "--top-k", "2", "--output", str(output)]
        done = live.run("jobs", "results", job_id, *arguments)
        assert (0, "") == (done.returncode, done.stdout)
        assert f"wrote {_COUNT} results to {output}\n" == done.stderr

    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    table = parquet.read_table(tmp_path / "results.parquet").to_pylist()
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    labels = [str(label) for label in expected.argmax(axis=1)]
    ids = [f"{number:03}.png" for number in range(_COUNT)]
    for records in (lines, table, rows):
        assert ids == [record["item_id"] for record in records]
        assert labels == [record["label"] for record in records]
    for records in (lines, table):
        found = np.array([record["probabilities"] for record in records], np.float32)
        assert expected.tobytes() == found.tobytes()
        assert {2} == {len(record["top_labels"]) for record in records}
    found = np.array([[row[f"p_{digit}"] for digit in range(10)] for row in rows], np.float32)
    assert expected.tobytes() == found.tobytes()


def test_jobs_are_listed_shown_and_watched(live: Any, job_id: str) -> None:
    shown = live.answer("jobs", "show", job_id)
    watched = live.answer("jobs", "watch", job_id)
    listed = {job["job_id"]: job for job in live.answer("jobs", "list")["jobs"]}

    assert ("SUCCEEDED", 3, {"team": "orders"}) == (shown["state"], shown["shards"], shown["tags"])
    assert shown == watched == {**listed[job_id], "dead": []}
    for arguments in (["list"], ["show", job_id]):
        done = live.run("jobs", *arguments)
        assert 0 == done.returncode, done.stderr
        assert job_id in done.stdout


def test_a_cancelled_job_ends_at_once(live: Any, folder: Path, job_id: str) -> None:
    with live.workers_stopped():
        submitted = live.answer("submit", "images.npy", "--model", "digits", cwd=folder)
        ended = live.answer("jobs", "cancel", submitted["job_id"])

    assert "CANCELLED" == ended["state"]
    assert "cancelled with `fornada jobs cancel`" == ended["reason"]
    assert "CANCELLED" == live.answer("jobs", "show", submitted["job_id"])["state"]
    # and one that has ended keeps its end
    assert "SUCCEEDED" == live.answer("jobs", "cancel", job_id)["state"]


def test_waiting_for_too_long_is_an_error_and_the_job_goes_on(live: Any, folder: Path) -> None:
    with live.workers_stopped():
        options = ["--model", "digits", "--wait", "--timeout", "0.2"]
        done = live.run("submit", "images.npy", *options, cwd=folder)

    assert (1, "") == (done.returncode, done.stdout)
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: job ")
    assert "it continues, so wait again" in line
    assert "SUCCEEDED" == live.answer("jobs", "watch", line.split()[2])["state"]


def test_ctrl_c_ends_the_waiting_and_not_the_job(
    live: Any, folder: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    errors = tmp_path / "stderr"
    command = [sys.executable, "-m", "fornada", "submit", "images.npy", "--model", "digits"]
    with live.workers_stopped(), errors.open("wb") as stderr:
        waiting = subprocess.Popen(
            [*command, "--wait"],
            env=live.environ,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        # It has read the store once, and waits.
        wait_until(lambda: b"job progress" in errors.read_bytes(), timeout_s=60)
        waiting.send_signal(signal.SIGINT)
        stdout, _ = waiting.communicate(timeout=30)

    lines = errors.read_text().splitlines()
    assert (130, b"") == (waiting.returncode, stdout)
    assert "error: interrupted" == lines[-1]
    assert [lines[-1]] == [line for line in lines if line.startswith(("error", "Traceback"))]
    job_id = lines[0].removeprefix("submitted job ")
    assert "SUCCEEDED" == live.answer("jobs", "watch", job_id)["state"]


def test_doctor_finds_nothing_to_mend(live: Any) -> None:
    findings = live.answer("doctor", "--model", "digits@prod")["findings"]

    assert {"ok"} == {finding["status"] for finding in findings}, findings
    found = [finding["check"] for finding in findings]
    assert ["settings", "inputs", "broker", "workers", "store", "conditional writes"] == found[:6]
    assert ["cores", "images", "model", "threads"] == found[-4:]
    assert "digits:1 loads and predicts" in findings[-2]["detail"]


def test_doctor_creates_a_bucket_and_says_what_is_missing(live: Any) -> None:
    # A Redis database belongs to one bucket.
    server = live.settings.redis_url.get_secret_value().rpartition("/")[0]
    changed = {"FORNADA_S3_BUCKET": "brand-new", "FORNADA_REDIS_URL": f"{server}/1"}

    before = live.run("doctor", **changed)
    after = live.run("doctor", "--create-bucket", **changed)

    assert 1 == before.returncode
    assert "bucket 'brand-new'; create it (`fornada doctor --create-bucket`)" in before.stdout
    assert "Traceback" not in before.stderr
    assert 0 == after.returncode, after.stdout
    assert "skip model: none is published; `fornada train` publishes one" in after.stdout


def test_health_of_the_worker(live: Any) -> None:
    folder = {"FORNADA_CACHE_DIR": str(live.settings.cache_dir)}

    done = live.run("worker", "--health", **folder)

    assert (0, "1 workers show life, 0 do not\n") == (done.returncode, done.stdout)


@pytest.fixture(scope="module")
def folder(live: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images in every kind of file, and in the bucket `camera`."""
    folder = tmp_path_factory.mktemp("images")
    written = live.answer("dataset", "digits", "--output", str(folder / "test"))
    images = np.load(written["files"]["images"])[:_COUNT]
    np.save(folder / "images.npy", images)
    idx = b"\0\0\x08\x03" + struct.pack(">3I", *images.shape) + images.tobytes()
    (folder / "images.idx.gz").write_bytes(gzip.compress(idx))
    (folder / "photos").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / "photos" / f"{number:03}.png")
    camera = S3ObjectStore.from_settings(live.settings.model_copy(update={"s3_bucket": "camera"}))
    camera.create_bucket()
    for number, half in enumerate(np.split(images, 2)):
        np.save(folder / "half.npy", half)
        camera.put(f"arrays/{number}.npy", (folder / "half.npy").read_bytes())
    return folder


@pytest.fixture(scope="module")
def job_id(live: Any, folder: Path) -> str:
    """A job over the folder of photographs, SUCCEEDED."""
    options = ["--model", "digits:1", "--items-per-shard", "5", "--tag", "team=orders", "--wait"]
    ended = live.answer("submit", "photos", *options, cwd=folder)
    assert "SUCCEEDED" == ended["state"]
    return str(ended["job_id"])


@pytest.fixture(scope="module")
def expected(live: Any, folder: Path) -> NDArray[np.float32]:
    """The images' probabilities through the Python client: float32 [items, classes]."""
    job = Client.from_settings(live.settings).submit(
        np.load(folder / "images.npy"), model="digits@prod"
    )
    job.wait(timeout_s=60)
    probabilities = job.results().probabilities
    labels = np.load(folder / "test" / "labels.npy")[:_COUNT]
    # One epoch teaches little, but more than guessing.
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.3
    return probabilities
