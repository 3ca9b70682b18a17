"""Image files beside other inputs travel as they are, and become items in the worker."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fornada.errors import InputError
from fornada.formats.tensor_file import FilesTensor, from_tensor_file
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor
from producer import Client
from producer.testing import in_memory_client

PHOTOS = np.random.default_rng(1).integers(0, 256, (5, 4, 6, 3), np.uint8)
FACTS = np.arange(5, dtype=np.float32)[:, np.newaxis]


def client_of(shape: list[int | None]) -> Client:
    """A client of a model that gives each photograph's sum of pixels, and the fact."""
    takes = [
        InputTensor(name="photo", dtype="uint8", shape=shape, image=ImagePreprocessing()),
        InputTensor(name="facts", dtype="float32", shape=[1]),
    ]

    def predict(given: Any) -> dict[str, NDArray[Any]]:
        photos = given["photo"]
        return {"sum": photos.reshape(len(photos), -1).sum(1, np.int64)[:, None], **given}

    gives = [
        OutputTensor(name="sum", dtype="int64", shape=[1], kind="tensor"),
        OutputTensor(name="photo", dtype="uint8", shape=shape, kind="tensor"),
        OutputTensor(name="facts", shape=[1], kind="tensor"),
    ]
    return in_memory_client(model="m", inputs=takes, outputs=gives, predict=predict)


def written(folder: Path) -> list[Path]:
    paths = []
    for number, photo in enumerate(PHOTOS):
        paths.append(folder / f"{number}.png")
        Image.fromarray(photo).save(paths[-1])
    return paths


@pytest.mark.parametrize("shape", [[4, 6, 3], [None, None, 3]])
def test_files_travel_as_they_are(tmp_path: Path, shape: list[int | None]) -> None:
    paths, client = written(tmp_path), client_of(shape)
    paths[1].write_bytes(b"no image")
    paths[3].write_bytes(b"")
    given = {"photo": paths, "facts": FACTS}

    job = client.submit(given, model="m", items_per_shard=2)
    results, shards = job.results(), job.manifest.shards

    assert [["photo"]] * 3 == [shard.files for shard in shards]
    stored = from_tensor_file(
        client._jobs.inputs.read(job.manifest, shards[0].objects[0]),
        [FilesTensor("photo"), InputTensor(name="facts", dtype="float32", shape=[1])],
        where="",
    )
    assert [path.read_bytes() for path in paths[:2]] == list(stored["photo"])
    assert [path.name for path in paths] == results.item_ids
    assert [1, 3] == list(results.errors)
    assert "'photo': 1.png is not an image" in results.errors[1]
    assert "3.png is an empty file" in results.errors[3]
    for n in (0, 2, 4):
        assert PHOTOS[n].sum(dtype=np.int64) == results.outputs["sum"][n]
        np.testing.assert_array_equal(PHOTOS[n], results.outputs["photo"][n])
    # A call decodes them, and gives the same.
    called = client.predict(given, model="m", errors="nan")
    assert isinstance(called, dict)
    np.testing.assert_array_equal(results.outputs["sum"], called["sum"])
    with pytest.raises(InputError, match=r"3\.png is an empty file"):
        client.submit(given, model="m", strict=True)
    with pytest.raises(InputError, match=r"\['photo'\] is list of str, and m:1 takes images"):
        client.submit({**given, "photo": list(map(str, paths))}, model="m")


def test_files_that_a_table_names_or_holds_travel_as_they_are(tmp_path: Path) -> None:
    pa, pq = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    paths, client = written(tmp_path), client_of([4, 6, 3])
    paths[1].write_bytes(b"no image")
    files = [path.read_bytes() for path in paths]
    names = [path.name for path in paths]
    for photos in (pa.array([*files[:3], None, files[4]]), [*names[:3], None, names[4]]):
        table = pa.table({"key": list("abcde"), "photo": photos, "facts": FACTS[:, 0]})
        pq.write_table(table, tmp_path / "t.parquet")

        job = client.submit(tmp_path / "t.parquet", model="m", id_column="key")
        results = job.results()

        assert ([["photo"]], list("abcde")) == (
            [shard.files for shard in job.manifest.shards],
            results.item_ids,
        )
        assert [1, 3] == list(results.errors)
        assert "'photo': b is not an image" in results.errors[1]
        assert "null in 'photo'" == results.errors[3]
        np.testing.assert_array_equal(PHOTOS[[0, 2, 4]], results.outputs["photo"][[0, 2, 4]])
        called = client.predict(tmp_path / "t.parquet", model="m", errors="nan")
        assert isinstance(called, dict)
        np.testing.assert_array_equal(results.outputs["sum"], called["sum"])


def test_files_and_arrays_take_turns_and_a_retry_reads_the_failed_ones(tmp_path: Path) -> None:
    paths, client = written(tmp_path), client_of([4, 6, 3])
    paths[3].write_bytes(b"no image")
    data = io.BytesIO()
    Image.fromarray(PHOTOS[1]).save(data, "PNG")
    rows = [
        {"photo": paths[0], "facts": FACTS[0]},
        {"photo": data.getvalue(), "facts": FACTS[1]},
        {"photo": PHOTOS[2], "facts": FACTS[2]},
        {"photo": Image.fromarray(PHOTOS[4]), "facts": FACTS[4]},
    ]

    job = client.submit(iter(rows), model="m", item_ids=list("abcd"))
    failing = client.submit({"photo": paths, "facts": FACTS}, model="m", items_per_shard=5)
    again = client.retry_failed(failing.id)

    assert [["photo"], [], ["photo"]] == [shard.files for shard in job.manifest.shards]
    sums = PHOTOS[[0, 1, 2, 4]].reshape(4, -1).sum(1, np.int64)
    np.testing.assert_array_equal(sums, job.results().outputs["sum"][:, 0])
    found = again.results(partial=True)
    assert (["3.png"], [["photo"]]) == (found.item_ids, [s.files for s in again.manifest.shards])
    assert "'photo': 3.png is not an image" in found.errors[0]
