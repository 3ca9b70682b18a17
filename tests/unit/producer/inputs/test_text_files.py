"""Text files go in: each line of a file that is named is an item, each file of a folder is one."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.errors import InputError
from fornada.settings import Settings
from producer import Client
from producer.inputs.interface import ItemBlock, LocalFiles, Signature, StoredImages
from producer.inputs.local_files import read_blocks
from producer.testing import in_memory_client

_BUCKET = Settings().s3_bucket


def client_of(shape: list[int | None]) -> Client:
    """A client of a model that gives how many bytes each item's texts have."""
    return in_memory_client(
        model="m",
        item_shape=shape,
        item_dtype="string",
        classes=["bytes"],
        kind="values",
        predict=lambda texts: np.array([[sum(map(len, row.flat))] for row in texts[:, None]]),
    )


def read(given: Any, shape: list[int | None] | None = None) -> dict[str, float | str]:
    """Id of each item -> how many bytes it has, or why it failed."""
    return _found(client_of(shape or []), given)


def _found(client: Client, given: Any) -> dict[str, float | str]:
    results = client.submit(given, model="m").results(partial=True)
    values = results.values["bytes"].tolist()
    found = [results.errors.get(n, value) for n, value in enumerate(values)]
    return dict(zip(results.item_ids, found, strict=True))


def _read_by(client: Client, prefix: str) -> dict[str, float | str]:
    """As `read`, of objects."""
    return _found(client, StoredImages(bucket=_BUCKET, prefix=prefix))


def test_a_line_of_a_file_is_an_item(tmp_path: Path) -> None:
    path = tmp_path / "reviews.txt"
    path.write_bytes(b"\xef\xbb\xbfa film\r\n\nsch\xc3\xb6n\n\xff\xfe\nlast")
    packed = tmp_path / "more.TXT.gz"
    packed.write_bytes(gzip.compress(b"one\ntwo\n"))

    wrong = "b'\\xff\\xfe' among its texts, which is not UTF-8"
    lines: dict[str, float | str] = {"0": 6, "1": 0, "2": 6, "3": wrong, "4": 4}
    assert lines == read(path)
    assert lines == read(path, [1])
    assert lines | {"5": 3, "6": 3} == read([path, packed])
    assert [6, 0, 6, 4] == [
        int(row[0]) for row in client_of([]).predict(path, model="m", errors="nan") if row[0] >= 0
    ]


def test_a_file_of_a_folder_is_an_item(tmp_path: Path) -> None:
    folder = tmp_path / "reviews"
    (folder / "old").mkdir(parents=True)
    (folder / "a.txt").write_text("two\nlines\n")
    (folder / "old" / "b.txt").write_bytes(b"")
    (folder / "c.txt").write_bytes(b"\xff")
    (folder / "notes.md").write_text("x")

    found = read(folder)

    assert {"a.txt": 10, "old/b.txt": 0} == {n: v for n, v in found.items() if n != "c.txt"}
    assert "not UTF-8" in str(found["c.txt"])
    assert ["reviews/a.txt", "reviews/c.txt", "reviews/old/b.txt", "more.txt#0"] == list(
        read([folder, _written(tmp_path / "more.txt", "line\n")])
    )


def test_texts_in_the_store_go_in_as_local_ones() -> None:
    client = client_of([])
    for name, data in {
        "a.txt": b"two\nlines\n",
        "b.txt": b"",
        "c.txt": b"\xff",
        "d.txt.gz": gzip.compress(b"one\ntwo"),
        "e.dat": b"unknown",
    }.items():
        client._jobs.objects.put(f"inputs/t/{name}", data, bucket=_BUCKET)

    found = _read_by(client, "inputs/t/")
    wrong = found.pop("inputs/t/c.txt")
    assert "not UTF-8" in str(wrong)
    assert {"inputs/t/a.txt": 10, "inputs/t/b.txt": 0, "inputs/t/d.txt.gz": 7} == found
    assert {"0": 3, "1": 5} == _read_by(client, "inputs/t/a.txt")
    assert {"0": 3, "1": 3} == _read_by(client, "inputs/t/d.txt.gz")
    # Beside other files they are left out, and other models refuse them.
    client._jobs.objects.put("inputs/t/f.csv", b"text\nfrom a table\n", bucket=_BUCKET)
    assert {"0": 12} == _read_by(client, "inputs/t/")
    numbers = in_memory_client(model="m", item_shape=[2], classes=["a", "b"])
    numbers._jobs.objects.put("inputs/t/a.txt", b"1 2", bucket=_BUCKET)
    with pytest.raises(InputError, match=r"a\.txt holds texts, and m:1 takes uint8 \[2\]"):
        _read_by(numbers, "inputs/t/")


def test_texts_beside_other_files_are_left_out_and_other_models_refuse_them(
    tmp_path: Path,
) -> None:
    _written(tmp_path / "readme.txt", "about the data")
    _written(tmp_path / "data.csv", "text\nfrom a table\n")

    assert {"0": 12} == read(tmp_path)
    assert {"0": 14} == read(tmp_path / "readme.txt")
    numbers = in_memory_client(model="m", item_shape=[2], classes=["a", "b"])
    with pytest.raises(InputError, match=r"readme\.txt holds texts, and m:1 takes uint8 \[2\]"):
        numbers.submit(tmp_path / "readme.txt", model="m")
    with pytest.raises(InputError, match=r"items of shape \(\), but m:1 takes \(3,\)"):
        read(tmp_path / "readme.txt", [3])


def test_a_line_that_is_too_long_fails_alone(tmp_path: Path) -> None:
    long = _written(tmp_path / "long.txt", "short\n" + "x" * 40 + "\nlast\n")
    signature = Signature.of(client_of([]).model("m"))

    (block,) = read_blocks(LocalFiles(paths=[long]), signature, max_file_bytes=8, strict=False)

    assert isinstance(block, ItemBlock)
    assert [b"short", b"", b"last"] == block.rows.only.tolist()
    assert [1] == list(block.errors)
    assert "has more than 8 bytes" in block.errors[1]


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
