"""One bad item costs itself, whichever way it comes in, on real servers and a real worker."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fornada.errors import PredictionErrors
from fornada.jobs.shard_inputs import Shards
from fornada.local.stack import Stack
from fornada.storage.s3.store import S3ObjectStore
from model_store.store import ModelStore
from model_store.testing import publish_for_test
from producer import Client, StoredImages

_FAILS_ON = 7
_BAD = {3: "the model failed on it: an item begins with 7", 5: "NaN or infinity among its values"}


def _rows(count: int) -> np.ndarray:
    """float32 [count, 4]: the model fails on the fourth, and the sixth has a NaN."""
    rows = np.arange(count * 4, dtype=np.float32).reshape(count, 4) + 100
    rows[3, 0], rows[5, 2] = _FAILS_ON, np.nan
    return rows


class _Deployment:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.objects = S3ObjectStore.from_settings(stack.settings)
        models = ModelStore(objects=self.objects)
        self.expected = publish_for_test(
            models,
            name="floats",
            item_shape=[4],
            item_dtype="float32",
            classes=["a", "b"],
            fails_on=_FAILS_ON,
        )
        publish_for_test(models, name="photos", item_shape=[8, 8], classes=["a", "b"])
        self.client = Client.from_settings(stack.settings)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "fornada", *arguments],
            env={**os.environ, **self.stack.environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def check(self, job: Any, rows: np.ndarray, bad: dict[int, str]) -> None:
        status, results = job.wait(timeout_s=60), job.results()

        assert ("PARTIAL", len(rows) - len(bad)) == (status.state, status.items_ok)
        assert sorted(bad) == sorted(results.errors) == list(np.flatnonzero(~results.ok))
        for number, why in bad.items():
            assert results.errors[number].startswith(why)
        expected = self.expected(rows)
        expected[sorted(bad)] = np.nan
        np.testing.assert_array_equal(expected, results.probabilities)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Deployment]:
    environ = {**os.environ, "FORNADA_ENGINE": "test"}
    folder = tmp_path_factory.mktemp("stack")
    with Stack(data_dir=folder, workers=1, environ=environ) as stack:
        made = _Deployment(stack)
        yield made
        made.client.close()


def test_rows_of_arrays_and_streams_and_small_jobs_fail_alone(deployment: _Deployment) -> None:
    rows, client = _rows(30_000), deployment.client

    deployment.check(client.submit(rows, model="floats", items_per_shard=9_000), rows, _BAD)
    deployment.check(client.submit(np.array_split(rows, 7), model="floats"), rows, _BAD)
    small = _rows(8)
    deployment.check(client.submit(small, model="floats"), small, _BAD)
    for job in client.submit_many([small] * 5, model="floats"):
        deployment.check(job, small, _BAD)


def test_rows_of_a_call_fail_alone(deployment: _Deployment) -> None:
    rows = _rows(8)

    with pytest.raises(PredictionErrors, match="2 of 8 items failed") as caught:
        deployment.client.predict(rows, model="floats")

    expected = deployment.expected(rows)
    expected[sorted(_BAD)] = np.nan
    np.testing.assert_array_equal(expected, caught.value.outputs)
    np.testing.assert_array_equal(
        expected, deployment.client.predict(rows, model="floats", errors="nan")
    )
    assert sorted(_BAD) == sorted(caught.value.errors)


def _photos() -> dict[str, bytes]:
    png = io.BytesIO()
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(png, format="PNG")
    good = png.getvalue()
    return {
        "a.png": good,
        "b.png": b"",
        "c.png": good[:-20],
        "labels.csv": b"a,b",
        "z.png": good,
        "Thumbs.db": b"\xd0\xcf",
    }


def test_files_of_a_folder_and_objects_of_a_prefix_fail_alone(
    deployment: _Deployment, tmp_path: Path
) -> None:
    bad = ["b.png", "c.png"]
    for name, data in _photos().items():
        (tmp_path / name).write_bytes(data)
        deployment.objects.put(f"inputs/{name}", data)
    bucket = deployment.stack.settings.s3_bucket
    stored = deployment.client.submit(StoredImages(bucket=bucket, prefix="inputs/"), model="photos")
    assert "PARTIAL" == stored.wait(timeout_s=60).state
    assert [f"inputs/{name}" for name in bad] == [item.item_id for item in stored.item_errors()]

    # from the command line, with its exit codes
    submit = ("submit", str(tmp_path), "--model", "photos", "--wait", "--json")
    done = deployment.run(*submit)
    assert (1, "PARTIAL") == (done.returncode, json.loads(done.stdout)["state"])
    job_id = json.loads(done.stdout)["job_id"]
    assert f"see `fornada jobs errors {job_id}`" in done.stderr
    for most, code, state in (("2", 0, "PARTIAL"), ("60%", 0, "PARTIAL"), ("1", 1, "FAILED")):
        done = deployment.run(*submit, "--max-failed", most)
        assert (code, state) == (done.returncode, json.loads(done.stdout)["state"]), done.stderr
    lines = deployment.run("jobs", "errors", job_id).stdout.splitlines()
    assert bad == [json.loads(line)["item_id"] for line in lines]
    table = deployment.run("jobs", "errors", job_id, "--format", "csv").stdout.splitlines()
    assert ["item,item_id,reason", 3] == [table[0], len(table)]
    done = deployment.run(*submit, "--strict")
    assert 2 == done.returncode
    assert "labels.csv is not an image file" in done.stderr


def test_objects_that_a_job_may_not_read_or_the_store_does_not_name_fail_alone(
    deployment: _Deployment,
) -> None:
    # given a manifest, by another producer, with such objects among good ones
    client, good = deployment.client, _photos()["a.png"]
    for name in ("0", "1"):
        deployment.objects.put(f"inputs/odd/{name}.png", good)
    held = client.submit(np.zeros((30_000, 8, 8), np.uint8), model="photos").manifest
    bucket = deployment.stack.settings.s3_bucket
    prefix = StoredImages(bucket=bucket, prefix="inputs/odd/")
    first = client.submit(prefix, model="photos").manifest
    shard, theirs = first.shards[0], held.shards[0].objects[0]
    bad = [
        theirs,
        theirs.model_copy(update={"size_bytes": 1, "bucket": bucket}),
        *(
            shard.objects[0].model_copy(update={"key": key, "bucket": where})
            for key, where in (
                ("names.json", None),
                ("models/photos/1/model.keras", bucket),
                ("inputs/../models/photos/1/model.keras", bucket),
                ("inputs/odd/0.png", "elsewhere"),
                ("inputs/odd//0.png", bucket),
                ("inputs/odd/gone.png", bucket),
            )
        ),
    ]
    objects = [shard.objects[0], *bad, shard.objects[1]]
    spec = shard.model_copy(update={"objects": objects, "item_count": len(objects)})

    # when
    changes = {"job_id": "odd-names", "shards": Shards([spec])}
    client._creator.create_and_enqueue(first.model_copy(update=changes), new=True)
    job = client.job("odd-names")

    # then the job ends at once, and says nothing of what it may not read
    assert ("PARTIAL", 2) == (job.wait(timeout_s=60).state, job.status().items_ok)
    reasons = [item.reason for item in job.item_errors()]
    address = f"s3://{bucket}/"
    for ref, reason in zip(bad[:6], reasons, strict=False):
        named = ref.key if ref.bucket is None else f"s3://{ref.bucket}/{ref.key}"
        assert reason.startswith(f"{named!r} is not an object that this job may read")
    assert reasons[6].startswith(f"the store gives workers no object '{address}inputs/odd//0.png'")
    assert "inputs/odd/gone.png is gone" in reasons[7]
