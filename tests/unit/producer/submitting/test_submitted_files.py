"""Image files submitted with the in-memory client: inline or stored, once per key, retried."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fornada.errors import JobConflictError
from fornada.formats.items import Array
from producer import ImageFile, LocalFiles
from producer.client import Client
from producer.testing import in_memory_client


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 5), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def means(images: Array) -> Array:
    """float32 [items, 2]: the mean of each image, and 1."""
    mean = images.reshape(len(images), -1).mean(axis=1)
    return np.stack([mean, np.ones_like(mean)], axis=1)


@pytest.fixture
def client() -> Client:
    return in_memory_client(model="m", item_shape=[4, 5], classes=["a", "b"], predict=means)


def folder_of(folder: Path, values: range) -> Path:
    folder.mkdir()
    for value in values:
        (folder / f"{value:03}.png").write_bytes(png(value))
    return folder


@pytest.mark.parametrize("count", [3, 150])
def test_small_and_large_folders_give_each_file_its_result(
    client: Client, tmp_path: Path, count: int
) -> None:
    folder = folder_of(tmp_path / "photos", range(count))
    (folder / "cut.png").write_bytes(png(1)[:-9])

    job = client.submit(LocalFiles(paths=[folder]), model="m", items_per_shard=50)

    results = job.results()
    assert (count < 50) == job.manifest.is_small
    assert [f"{n:03}.png" for n in range(count)] + ["cut.png"] == results.item_ids
    assert list(range(count)) == list(results.matrix[:count, 0])
    assert [count] == list(results.errors)
    assert "cut.png is a broken image" in results.errors[count]
    # and the failed one alone is run again
    again = client.retry_failed(job.id)
    assert ["cut.png"] == [item.item_id for item in again.item_errors()]
    assert 1 == again.manifest.item_count


@pytest.mark.parametrize("count", [3, 150])
def test_the_same_files_under_one_key_are_one_job(
    client: Client, tmp_path: Path, count: int
) -> None:
    folder = folder_of(tmp_path / "photos", range(count))

    first, second = (
        client.submit(LocalFiles(paths=[folder]), model="m", idempotency_key="night")
        for _ in range(2)
    )

    assert first.manifest == second.manifest
    (folder / "000.png").write_bytes(png(9))
    with pytest.raises(JobConflictError):
        client.submit(LocalFiles(paths=[folder]), model="m", idempotency_key="night")


def test_arrays_and_files_of_one_stream_keep_their_order(client: Client) -> None:
    rows = np.full((2, 4, 5), 7, np.uint8)

    job = client.submit(iter([ImageFile(name="a.png", data=png(3)), rows]), model="m")

    assert ["tar", "npy"] == [shard.format for shard in job.manifest.shards]
    assert [3, 7, 7] == list(job.results().matrix[:, 0])
    assert ["0", "1", "2"] == job.results().item_ids
