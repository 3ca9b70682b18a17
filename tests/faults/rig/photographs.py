"""Photographs as a job's input in each way that they come, some of them broken."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fornada.errors import InputError
from fornada.formats.images import decode_item
from fornada.parallel import in_parallel
from fornada.tensors import ImagePreprocessing, InputTensor
from producer.inputs.interface import ImageFile, StoredImages
from producer.job import Job

from ...photos import encoded, scene, tar_of
from .checker import OutcomeHistory, check_job
from .deployment import END_WITHIN_S, ITEM_SHAPE, ITEMS_PER_SHARD, MAX_ATTEMPTS, Deployment

#: Files in tars that the producer stores; stored files; stored files within a tar.
WAYS = ("tars", "objects", "ranges")
_IMAGE = ImagePreprocessing(color="grayscale")
#: Every so many, one is cut short, empty, or no image.
_BROKEN_EACH = 7


class Photographs:
    """Photographs for `shards` shards, and a model of them."""

    def __init__(self, deployment: Deployment, *, shards: int) -> None:
        self._deployment = deployment
        self.shards = shards
        predict = deployment.publish("photos", seed=8, image=_IMAGE)
        count = shards * ITEMS_PER_SHARD
        #: By name, in the order of the items.
        self.files = {f"{number:05}.jpg": _photograph(number) for number in range(count)}
        #: float32 [items, classes], NaN for broken ones.
        self.expected = np.full((count, 3), np.nan, np.float32)
        whole, items = _decoded(self.files)
        self.expected[whole] = predict(items)

    def submit(self, way: str, *, job_id: str | None = None) -> Job:
        """A job of them all; the workers are stopped until it is there."""
        inputs: list[ImageFile] | StoredImages
        if way == "tars":
            inputs = [
                ImageFile(name=name, data=data, item_id=name) for name, data in self.files.items()
            ]
        else:
            inputs = self._stored[way]
        with self._deployment.held():
            return self._deployment.client().submit(
                inputs, model="photos", items_per_shard=ITEMS_PER_SHARD, idempotency_key=job_id
            )

    def check_undisturbed(self, job: Job, history: OutcomeHistory) -> None:
        """Wait for the end; every photograph has its bytes, or is one of the broken ones."""
        status = job.wait(timeout_s=END_WITHIN_S)
        history.observe(job.id)
        assert ("PARTIAL", self.shards) == (status.state, len(job.manifest.shards)), status
        history.check()
        check_job(
            self._deployment.objects,
            job.id,
            expected_probabilities=self.expected,
            max_attempts=MAX_ATTEMPTS,
        )
        names = list(self.files)
        broken = [names[number] for number in np.flatnonzero(np.isnan(self.expected[:, 0]))]
        assert broken == [str(item.item_id).rpartition("/")[2] for item in job.item_errors()]

    @cached_property
    def _stored(self) -> dict[str, StoredImages]:
        objects = self._deployment.objects
        bucket = self._deployment.settings.s3_bucket
        names = list(self.files)
        puts = in_parallel(
            lambda name: objects.put(f"inputs/camera/{name}", self.files[name]), names
        )
        assert len(names) == len(list(puts))
        objects.put("inputs/camera.tar", tar_of(self.files))
        return {
            "objects": StoredImages(bucket=bucket, prefix="inputs/camera/"),
            "ranges": StoredImages(bucket=bucket, prefix="inputs/camera.tar"),
        }


def _photograph(number: int) -> bytes:
    file = encoded(Image.fromarray(scene(24, 16, channels=3, seed=number)), "JPEG")
    if number % _BROKEN_EACH == 1:
        broken = (file[: len(file) // 2], b"", b"<!doctype html><title>404</title>")
        return broken[number // _BROKEN_EACH % len(broken)]
    return file


def _decoded(files: dict[str, bytes]) -> tuple[list[int], NDArray[np.uint8]]:
    """The numbers of whole photographs, and their items: uint8 [photographs, height, width]."""
    taken = InputTensor(name="x", dtype="uint8", shape=ITEM_SHAPE, image=_IMAGE)
    numbers, items = [], []
    for number, (name, data) in enumerate(files.items()):
        try:
            items.append(decode_item(data, taken=taken, where=name))
        except InputError:
            continue
        numbers.append(number)
    return numbers, np.stack(items)
