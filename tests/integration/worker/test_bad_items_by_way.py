"""Each kind of bad item by each way in: it fails alone, with its reason, and can be retried."""

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from fornada.errors import PredictionErrors
from fornada.formats.images import decode_item
from fornada.tensors import ImagePreprocessing, InputTensor
from model_store.store import ModelStore
from model_store.testing import publish_for_test
from producer import Client, Job, LocalFiles, StoredImages

from ...photos import encoded, png_that_declares, scene, tar_of

_FAILS_ON, _NAN_ON = 7, 9
#: Row -> how the reason begins.
_BAD_ROWS = {
    1: "NaN or infinity among its values",
    2: "the model failed on it",
    4: "NaN or infinity among its values",
    5: "the model gave NaN",
}
_ROWS = 8
_IMAGE = ImagePreprocessing(color="grayscale")
_TAKEN = InputTensor(name="x", dtype="float32", shape=[6, 8], image=_IMAGE)
#: File -> a part of the reason.
_BAD_FILES = {
    "b/cut.jpg": "broken image",
    "b/empty.jpg": "is an empty file",
    "b/letter.png": "is not an image",
    "b/vast.png": "50000x50000 pixels",
}
_LEFT_OUT = ("notes.txt", "Thumbs.db", ".DS_Store")


def _rows(count: int = _ROWS) -> NDArray[np.float32]:
    """float32 [count, 4], of which `_BAD_ROWS` are bad."""
    rows = np.arange(count * 4, dtype=np.float32).reshape(count, 4) + 100
    rows[1, 3], rows[4, 0] = np.nan, np.inf
    rows[2, 0], rows[5, 0] = _FAILS_ON, _NAN_ON
    return rows


def _files() -> dict[str, bytes]:
    """By name: photographs, bad ones, and what is none."""
    whole = {
        f"{folder}{number}.jpg": encoded(
            Image.fromarray(scene(30 + number, 20, channels=3, seed=number)), "JPEG"
        )
        for number, folder in enumerate(("a", "b/", "c"))
    }
    bad = {
        "b/cut.jpg": whole["a0.jpg"][:-200],
        "b/empty.jpg": b"",
        "b/letter.png": b"%PDF-1.7 a letter",
        "b/vast.png": png_that_declares(50_000, 50_000),
    }
    return dict(sorted({**whole, **bad, **dict.fromkeys(_LEFT_OUT, b"no photograph")}.items()))


class _World:
    """Two models on a running worker, and the items in each form."""

    def __init__(self, shared: Any, folder: Path) -> None:
        self.shared, self.client = shared, shared.client
        unlimited = shared.settings.model_copy(update={"max_inline_bytes": 0})
        #: Submits no small jobs.
        self.uploading = Client.from_settings(unlimited)
        models = ModelStore(objects=shared.objects)
        self.predict_rows = publish_for_test(
            models,
            name="rows",
            item_shape=[4],
            item_dtype="float32",
            classes=["a", "b"],
            fails_on=_FAILS_ON,
            nan_on=_NAN_ON,
        )
        self.predict_images = publish_for_test(
            models,
            name="photos",
            item_shape=[6, 8],
            item_dtype="float32",
            classes=["a", "b"],
            image=_IMAGE,
        )
        self.files = _files()
        self.names = [name for name in self.files if name not in _LEFT_OUT]
        self.folder = folder / "photos"
        for name, data in self.files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            shared.objects.put(f"inputs/by-way/{name}", data)
        self.tar, self.zip = folder / "photos.tar", folder / "photos.zip"
        self.tar.write_bytes(tar_of(self.files))
        shared.objects.put("inputs/by-way.tar", self.tar.read_bytes())
        with zipfile.ZipFile(self.zip, "w") as packed:
            for name, data in self.files.items():
                packed.writestr(name, data)
        self.npy = folder / "rows.npy"
        np.save(self.npy, _rows())
        shared.objects.put("inputs/by-way-rows.npy", self.npy.read_bytes())
        columns = {
            "key": [f"C{row}" for row in range(_ROWS)],
            **dict(zip("abcd", _rows().T, strict=True)),
        }
        self.table = folder / "rows.parquet"
        parquet.write_table(pa.table(columns), self.table, row_group_size=3)
        shared.objects.put("inputs/by-way-rows.parquet", self.table.read_bytes())

    def stored(self, prefix: str) -> StoredImages:
        return StoredImages(bucket=self.shared.settings.s3_bucket, prefix=prefix)

    def check_rows(self, results: Any, count: int = _ROWS) -> None:
        expected = self.predict_rows(_rows(count))
        expected[list(_BAD_ROWS)] = np.nan
        np.testing.assert_array_equal(expected, results)

    def expected_photos(self) -> NDArray[np.float32]:
        rows = np.full((len(self.names), 2), np.nan, np.float32)
        for row, name in enumerate(self.names):
            if name not in _BAD_FILES:
                item = decode_item(self.files[name], taken=_TAKEN, where=name)
                rows[row] = self.predict_images(item[np.newaxis])[0]
        return rows


@pytest.fixture(scope="module")
def world(shared: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_World]:
    made = _World(shared, tmp_path_factory.mktemp("by-way"))
    yield made
    made.uploading.close()


def _check(job: Job, bad: dict[int, str]) -> Any:
    """Check state, counts and reasons; its rows."""
    status, results = job.wait(timeout_s=60), job.results()
    count = job.manifest.item_count
    assert ("PARTIAL", count - len(bad), len(bad)) == (
        status.state,
        status.items_ok,
        status.items_failed,
    )
    assert sorted(bad) == sorted(results.errors) == list(np.flatnonzero(~results.ok))
    assert [] == [why for number, why in bad.items() if why not in results.errors[number]]
    return results


def test_a_bad_row_fails_alone_by_every_way(world: _World) -> None:
    rows, many = _rows(), 30_000
    with_null = [[None if np.isnan(value) else value for value in row] for row in rows.tolist()]
    client, uploading = world.client, world.uploading
    null_rows = {**_BAD_ROWS, 1: "null"}
    ways: dict[str, tuple[Callable[[], list[Job]], dict[int, str]]] = {
        "small": (lambda: [client.submit(rows, model="rows")], _BAD_ROWS),
        "array": (lambda: [uploading.submit(rows, model="rows", items_per_shard=3)], _BAD_ROWS),
        "stream": (
            lambda: [uploading.submit(iter(np.array_split(rows, 3)), model="rows")],
            _BAD_ROWS,
        ),
        "null": (lambda: [client.submit(with_null, model="rows")], null_rows),
        "bundle": (lambda: client.submit_many([rows] * 3, model="rows"), _BAD_ROWS),
        "file": (lambda: [client.submit(LocalFiles(paths=[world.npy]), model="rows")], _BAD_ROWS),
        "prefix": (
            lambda: [client.submit(world.stored("inputs/by-way-rows.npy"), model="rows")],
            _BAD_ROWS,
        ),
        "table": (
            lambda: [client.submit(world.table, model="rows", id_column="key")],
            _BAD_ROWS,
        ),
        "stored table": (
            lambda: [
                client.submit(
                    world.stored("inputs/by-way-rows.parquet"),
                    model="rows",
                    id_column="key",
                    items_per_shard=4,
                )
            ],
            _BAD_ROWS,
        ),
    }
    submitted = {way: (submit(), bad) for way, (submit, bad) in ways.items()}

    for jobs, bad in submitted.values():
        for job in jobs:
            world.check_rows(_check(job, bad).probabilities)

    # and a retry of rows of a stored table keeps their ids
    ((stored,), _) = submitted["stored table"]
    retry = client.retry_failed(stored.id)
    assert "FAILED" == retry.wait(timeout_s=60).state
    assert [f"C{row}" for row in _BAD_ROWS] == [item.item_id for item in retry.item_errors()]
    assert 3 == len(stored.manifest.shards)
    # with many beside them
    job = client.submit(_rows(many), model="rows", items_per_shard=20_000)
    world.check_rows(_check(job, _BAD_ROWS).probabilities, many)
    # in a call
    for given, bad in ((rows, _BAD_ROWS), (with_null, null_rows)):
        with pytest.raises(PredictionErrors) as caught:
            client.predict(given, model="rows")
        assert sorted(bad) == sorted(caught.value.errors)
        assert [] == [why for n, why in bad.items() if why not in caught.value.errors[n]]
        world.check_rows(caught.value.outputs)
        world.check_rows(client.predict(given, model="rows", errors="nan"))


def test_a_bad_photograph_fails_alone_by_every_way(world: _World) -> None:
    client, uploading = world.client, world.uploading
    numbers = {world.names.index(name): why for name, why in _BAD_FILES.items()}
    paths = [world.folder / name for name in world.names]
    local = {
        "folder": lambda: LocalFiles(paths=[world.folder]),
        "glob": lambda: LocalFiles(paths=[f"{world.folder}/**"]),
        "tar": lambda: LocalFiles(paths=[world.tar]),
        "zip": lambda: LocalFiles(paths=[world.zip]),
        "paths": lambda: paths,
        "prefix": lambda: world.stored("inputs/by-way/"),
        "stored tar": lambda: world.stored("inputs/by-way.tar"),
    }
    jobs = [
        submitter.submit(make(), model="photos", items_per_shard=per_shard)
        for make in local.values()
        for submitter, per_shard in ((client, None), (uploading, 1))
    ]
    jobs += client.submit_many([paths] * 3, model="photos")
    expected = world.expected_photos()

    for job in jobs:
        np.testing.assert_array_equal(expected, _check(job, numbers).probabilities)

    with pytest.raises(PredictionErrors) as caught:
        client.predict(paths, model="photos")
    assert sorted(numbers) == sorted(caught.value.errors)
    assert [] == [why for n, why in numbers.items() if why not in caught.value.errors[n]]
    np.testing.assert_array_equal(expected, caught.value.outputs)
    np.testing.assert_array_equal(expected, client.predict(paths, model="photos", errors="nan"))
    # and a retry is a job of the failed ones that the submitter could read
    for job in (jobs[0], jobs[5], jobs[-4], jobs[-1]):
        retry = client.retry_failed(job.id)
        assert "FAILED" == retry.wait(timeout_s=60).state
        unread = f"{world.folder}/b/empty.jpg"
        assert [
            (i.item_id, i.reason) for i in job.item_errors() if not i.reason.startswith(unread)
        ] == [(i.item_id, i.reason) for i in retry.item_errors()]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_commands_end_as_the_failed_items_say(world: _World) -> None:
    names = [name.rpartition("/")[2] for name in _BAD_FILES]
    bucket = world.shared.settings.s3_bucket

    def submitted(source: object, *options: str) -> tuple[int, dict[str, Any]]:
        done = world.shared.run("submit", str(source), "--model", "photos", "--json", *options)
        return done.returncode, json.loads(done.stdout) if done.stdout else {}

    for source in (world.zip, world.tar, f"s3://{bucket}/inputs/by-way.tar"):
        code, status = submitted(source, "--wait")
        assert (1, "PARTIAL") == (code, status["state"])
        errors = world.shared.run("jobs", "errors", status["job_id"]).stdout.splitlines()
        assert names == [json.loads(line)["item_id"].rpartition("/")[2] for line in errors]
    for most, ends in (("4", (0, "PARTIAL")), ("3", (1, "FAILED"))):
        code, status = submitted(world.tar, "--wait", "--max-failed", most)
        assert ends == (code, status["state"])
    retried = world.shared.run("jobs", "retry-failed", status["job_id"], "--wait", "--json")
    assert (1, 4) == (retried.returncode, json.loads(retried.stdout)["items"])
    assert (2, {}) == submitted(world.tar, "--strict")
