"""Photographs go in as they are, whichever way they come, on real servers and a real worker."""

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fornada.formats.images import decode_item
from fornada.local.stack import Stack
from fornada.storage.s3.store import S3ObjectStore
from fornada.tensors import ImagePreprocessing, InputTensor
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
                self.objects.put(f"camera/{name}", data)
                zipped.writestr(name, data)
                member = tarfile.TarInfo(f"./{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        (folder / "photos.tar").write_bytes(packed.getvalue())
        with tarfile.open(folder / "photos.tar.gz", "w:gz") as zipped_tar:
            zipped_tar.add(self.folder, arcname=".")
        self.objects.put("archives/photos.tar", packed.getvalue())

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
        assert "is no image" in reasons["broken/text.png"]
        assert ("PARTIAL", 1) == (status.state, status.orientations_ignored)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "fornada", *arguments],
            env={**os.environ, **self.stack.environ},
            capture_output=True,
            text=True,
            timeout=60,
        )


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
        (lambda: StoredImages(bucket=bucket, prefix="camera/"), "camera/", 2),
        (
            lambda: StoredImages(bucket=bucket, prefix="archives/photos.tar"),
            "archives/photos.tar/",
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
