"""Photographs go in as they are, whichever way they come, on real servers and a real worker."""

import io
import json
import logging
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from fornada.commands.router import main
from fornada.errors import UsageError
from fornada.formats.images import decode_item
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from fornada.local.stack import Stack
from fornada.storage.s3.store import S3ObjectStore
from fornada.tensors import ImagePreprocessing, InputTensor
from model_store.images import ImageOptions
from model_store.store import ModelStore
from model_store.testing import publish_for_test
from producer import Client, Job, LocalFiles, StoredImages

_IMAGE = ImagePreprocessing()
_TAKEN = InputTensor(name="x", dtype="float32", shape=[20, 30, 3], image=_IMAGE)
_BROKEN = ("broken/cut.jpg", "broken/empty.jpg", "broken/text.png")
_LEFT_OUT = ("README", "labels.csv")
_ROTATED = 6


def _encoded(seed: int, size: tuple[int, int], kind: str, mode: str = "RGB", **how: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **how)
    return file.getvalue()


def _photographs() -> dict[str, bytes]:
    """A folder as people have them: path -> file, in the order of the ids."""
    exif = Image.Exif()
    exif[0x0112] = _ROTATED
    whole = _encoded(1, (90, 120), "JPEG")
    return {
        ".DS_Store": b"x",
        "README": b"Photographs.",
        "Thumbs.db": b"\xd0\xcf",
        "__MACOSX/a.jpg": b"x",
        "a.jpg": whole,
        "b.PNG": _encoded(2, (40, 30), "PNG", "L"),
        "broken/cut.jpg": whole[: len(whole) // 2],
        "broken/empty.jpg": b"",
        "broken/text.png": b"no image",
        "c.webp": _encoded(3, (64, 64), "WEBP", lossless=True),
        "d.bmp": _encoded(4, (20, 30), "BMP"),
        "e.gif": _encoded(5, (50, 25), "GIF", "P"),
        "f.tiff": _encoded(6, (25, 50), "TIFF", "CMYK"),
        "labels.csv": b"a,b",
        "turned": _encoded(7, (31, 77), "JPEG", exif=exif),
    }


class _Deployment:
    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.objects = S3ObjectStore.from_settings(stack.settings)
        self.predict = publish_for_test(
            ModelStore(objects=self.objects),
            name="photos",
            item_shape=[20, 30, 3],
            item_dtype="float32",
            classes=["a", "b"],
            image=_IMAGE,
        )
        publish_for_test(
            ModelStore(objects=self.objects), name="vectors", item_shape=[4], classes=["a", "b"]
        )
        self.client = Client.from_settings(stack.settings)
        self.files = _photographs()
        self.folder = folder / "photos"
        self.bucket = stack.settings.s3_bucket
        self._write(folder)
        kept = [name for name in self.files if name not in (*_LEFT_OUT, "Thumbs.db", ".DS_Store")]
        self.ids = [name for name in kept if not name.startswith("__MACOSX")]

    def _write(self, folder: Path) -> None:
        packed = io.BytesIO()
        with (
            tarfile.open(fileobj=packed, mode="w") as tar,
            zipfile.ZipFile(folder / "photos.zip", "w", zipfile.ZIP_DEFLATED) as zipped,
        ):
            for name, data in self.files.items():
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                self.objects.put(f"inputs/camera/{name}", data)
                zipped.writestr(name, data)
                member = tarfile.TarInfo(f"./{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        (folder / "photos.tar").write_bytes(packed.getvalue())
        with tarfile.open(folder / "photos.tar.gz", "w:gz") as zipped_tar:
            zipped_tar.add(self.folder, arcname=".")
        self.objects.put("inputs/photos.tar", packed.getvalue())

    def expected(self, image: ImagePreprocessing = _IMAGE) -> np.ndarray:
        """float32 [items, 2], NaN in the rows of broken files."""
        taken = _TAKEN.model_copy(update={"image": image})
        rows = np.full((len(self.ids), 2), np.nan, np.float32)
        for row, name in enumerate(self.ids):
            if name not in _BROKEN:
                item = decode_item(self.files[name], taken=taken, where=name)
                rows[row] = self.predict(item[np.newaxis])[0]
        return rows

    def check(self, job: Job, prefix: str = "") -> None:
        status, results = job.wait(timeout_s=60), job.results()
        found = dict(zip(results.item_ids, results.probabilities, strict=True))
        ids = [f"{prefix}{name}" for name in self.ids]
        assert sorted(ids) == sorted(found)
        np.testing.assert_array_equal(self.expected(), np.array([found[name] for name in ids]))
        reasons = {item.item_id.removeprefix(prefix): item.reason for item in job.item_errors()}
        assert sorted(_BROKEN) == sorted(reasons)
        assert "is an empty file" in reasons["broken/empty.jpg"]
        assert "is not an image" in reasons["broken/text.png"]
        assert ("PARTIAL", 1) == (status.state, status.orientations_ignored)

    def outcome(self, job: Job) -> ShardOutcome:
        """Of the first shard."""
        outcome = JobStore(objects=self.objects).outcome(job.id, 0)
        assert outcome is not None
        return outcome


class _Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(
    deployment: _Deployment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., _Done]]:
    """Runs `fornada ARGUMENTS` in this process."""
    for name, value in deployment.stack.environ.items():
        monkeypatch.setenv(name, value)
    # A command sets up the logging of its process.
    handlers, level = list(logging.root.handlers), logging.root.level

    def fornada(*arguments: str) -> _Done:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return _Done(int(ended.value.code or 0), captured.out, captured.err)

    yield fornada
    logging.root.handlers = handlers
    logging.root.setLevel(level)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Deployment]:
    environ = {**os.environ, "FORNADA_ENGINE": "test"}
    folder = tmp_path_factory.mktemp("stack")
    with Stack(data_dir=folder / "data", workers=1, environ=environ) as stack:
        made = _Deployment(stack, folder)
        yield made
        made.client.close()


def test_photographs_give_the_same_bytes_whichever_way_they_come(deployment: _Deployment) -> None:
    folder, bucket = deployment.folder, deployment.bucket
    ways: list[tuple[Callable[[], Any], str, int]] = [
        (lambda: LocalFiles(paths=[folder]), "", 2),
        (lambda: LocalFiles(paths=[f"{folder}/**"]), "", 2),
        (lambda: LocalFiles(paths=[folder.with_suffix(".tar")]), "", 2),
        (lambda: LocalFiles(paths=[folder.with_suffix(".tar.gz")]), "", 2),
        (lambda: LocalFiles(paths=[folder.with_suffix(".zip")]), "", 2),
        (lambda: StoredImages(bucket=bucket, prefix="inputs/camera/"), "inputs/camera/", 2),
        (
            lambda: StoredImages(bucket=bucket, prefix="inputs/photos.tar"),
            "inputs/photos.tar/",
            2,
        ),
    ]
    for items_per_shard in (None, 3):
        jobs = []
        for given, prefix, left_out in ways:
            images = given()
            job = deployment.client.submit(images, model="photos", items_per_shard=items_per_shard)
            jobs.append((job, prefix))
            assert left_out == images.left_out.count, images.left_out
        for job, prefix in jobs:
            deployment.check(job, prefix)


def test_commands_take_photographs_and_say_what_they_left_out(
    deployment: _Deployment, run: Callable[..., _Done]
) -> None:
    submit = ("submit", "--model", "photos", "--wait", "--json")
    done = run(*submit, str(deployment.folder))

    status = json.loads(done.stdout)
    assert (1, "PARTIAL", 2) == (done.returncode, status["state"], status["left_out"]["count"])
    reasons = [Path(reason.split()[0]).name for reason in status["left_out"]["reasons"]]
    assert sorted(_LEFT_OUT) == sorted(reasons)
    assert "left out 2 files: " in done.stderr
    shown = run("jobs", "show", status["job_id"]).stdout
    assert "ignored of 1 photographs" in " ".join(shown.split())
    failed = run("jobs", "errors", status["job_id"]).stdout.splitlines()
    assert list(_BROKEN) == [json.loads(line)["item_id"] for line in failed]

    # with patterns
    done = run(*submit, str(deployment.folder), "--exclude", "broken/*", "--include", "*.jpg")
    status = json.loads(done.stdout)
    assert (0, "SUCCEEDED", 1) == (done.returncode, status["state"], status["items"]), done.stderr
    assert 0 == status["left_out"]["count"]

    # refused
    for arguments, why in (
        ((str(deployment.folder), "--strict"), "photos/README is of no known kind"),
        ((str(deployment.folder / "broken/empty.jpg"),), "empty.jpg is an empty file"),
        ((str(deployment.folder / "README"),), "README is of no known kind"),
    ):
        done = run(*submit, *arguments)
        assert (2, True) == (done.returncode, why in done.stderr), done.stderr
    # one broken photograph is a job of one failed item
    done = run(*submit, str(deployment.folder / "broken/cut.jpg"))
    assert (1, "FAILED") == (done.returncode, json.loads(done.stdout)["state"])


def test_a_job_may_make_items_of_images_in_another_way(deployment: _Deployment) -> None:
    options: ImageOptions = {"resize": "pad", "interpolation": "nearest", "exif": True}
    padded = _IMAGE.model_copy(update=options)
    job = deployment.client.submit(
        LocalFiles(paths=[deployment.folder]), model="photos", image=options
    )

    job.wait(timeout_s=60)

    assert padded == job.manifest.input.image
    np.testing.assert_array_equal(deployment.expected(padded), job.results().probabilities)
    for model, image, why in (
        ("vectors", {"resize": "crop"}, "vectors:1 takes uint8 \\[4\\], which are not images"),
        ("photos", {"resize": "squash"}, "image has resize='squash'; give some of size="),
        ("photos", {"size": (9, 9)}, "a job keeps that of its model"),
    ):
        with pytest.raises(UsageError, match=why):
            deployment.client.submit(
                LocalFiles(paths=[deployment.folder]),
                model=model,
                image=image,  # type: ignore[arg-type]  # wrong ones, too
            )


def test_failed_photographs_are_run_again_alone(deployment: _Deployment) -> None:
    job = deployment.client.submit(
        StoredImages(bucket=deployment.bucket, prefix="inputs/photos.tar"), model="photos"
    )
    job.wait(timeout_s=60)
    assert deployment.client.verify(job.id, timeout_s=60).same

    again = deployment.client.retry_failed(job.id)

    assert "FAILED" == again.wait(timeout_s=60).state
    first = {item.item_id: (item.item, item.reason) for item in job.item_errors()}
    assert [(name, why) for name, (_, why) in first.items()] == [
        (item.item_id, item.reason) for item in again.item_errors()
    ]


def test_no_more_goes_up_than_the_files(deployment: _Deployment, tmp_path: Path) -> None:
    for number in range(40):
        data = _encoded(number, (100, 150), "JPEG", quality=95)
        (tmp_path / f"{number:03}.jpg").write_bytes(data)
    file_bytes = sum(path.stat().st_size for path in tmp_path.iterdir())

    job = deployment.client.submit(LocalFiles(paths=[tmp_path]), model="photos", items_per_shard=16)

    stored = deployment.objects.list(f"jobs/{job.id}/")
    up_bytes = sum(i.size_bytes for i in stored if "/data/" not in i.key and "/out" not in i.key)
    assert file_bytes < up_bytes <= 1.1 * file_bytes
    assert "SUCCEEDED" == job.wait(timeout_s=60).state
    outcome = deployment.outcome(job)
    assert outcome.decode_s is not None
    assert outcome.decode_s > 0


_SUBMITS = """
import resource, sys
from producer import Client, LocalFiles
Client.from_env().submit(LocalFiles(paths=[sys.argv[1]]), model="photos")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_a_client_takes_no_more_memory_for_more_files(
    deployment: _Deployment, tmp_path: Path
) -> None:
    """20,000 files and 5,000, of 9 KB each: 175 MB and 44 MB."""
    (tmp_path / "one").write_bytes(_encoded(1, (90, 90), "JPEG", quality=90))
    small_shards = {"FORNADA_MAX_SHARD_BYTES": str(4 * 2**20)}

    def peak_bytes(file_count: int) -> int:
        folder = tmp_path / str(file_count)
        folder.mkdir()
        for number in range(file_count):
            (folder / f"{number:06}.jpg").hardlink_to(tmp_path / "one")
        done = subprocess.run(
            [sys.executable, "-c", _SUBMITS, folder],
            env={**os.environ, **deployment.stack.environ, **small_shards},
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    assert peak_bytes(20_000) < peak_bytes(5_000) + 16 * 2**20
