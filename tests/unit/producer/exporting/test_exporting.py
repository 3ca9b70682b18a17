"""Results as files: every format reads back as the same float32; a full disk is one line."""

import contextlib
import csv
import json
import sys
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fornada.errors import LocalDiskError, StoreUnavailableError, UsageError
from producer.exporting import npy
from producer.exporting.catalog import FORMATS
from producer.exporting.files import write_results
from producer.exporting.interface import Export
from producer.results import ShardResult

CLASSES = ["Ankle boot", 'T-shirt, "top"', "=Ünïcode\n"]
PROBABILITIES = np.array(
    [
        [0.1, 0.7, 0.2],
        [1e-38, 1 / 3, 1.0],
        [np.nan, np.nan, np.nan],
        [0.25, 0.5, 0.25],
        [0.4, 0.2, 0.4],
    ],
    dtype=np.float32,
)
IDS = ["a/1.png", "2,3\r\n", 'quo"te', "", "ü"]
ERRORS = {2: "broken.png is a truncated PNG"}


def part(first_item: int, rows: np.ndarray, ids: list[str], errors: dict[int, str]) -> ShardResult:
    return ShardResult(
        shard=first_item, first_item=first_item, item_ids=ids, probabilities=rows, errors=errors
    )


def parts() -> Iterator[ShardResult]:
    yield part(0, PROBABILITIES[:3], IDS[:3], ERRORS)
    yield part(3, PROBABILITIES[3:], IDS[3:], {})


def write(path: Path | None, fmt: str, given: Iterable[ShardResult] = (), **changes: Any) -> None:
    """Write `given`, by default the results above."""
    of_job = {"item_count": 5, "classes": CLASSES, "top_k": 2, "model": "m:1", **changes}
    write_results(Export(parts=given or parts(), **of_job), path=path, fmt=fmt)


def as_float32(values: list[object]) -> np.ndarray:
    return np.array([np.nan if v in {None, ""} else v for v in values], dtype=np.float32)


def test_npy_is_the_probabilities_in_order(tmp_path: Path) -> None:
    write(tmp_path / "r.npy", "npy")

    np.testing.assert_array_equal(PROBABILITIES, np.load(tmp_path / "r.npy"), strict=True)


def test_npy_of_an_unfinished_job_is_nan_where_results_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npy, "VALUES_AT_A_TIME", 6)

    write(tmp_path / "r.npy", "npy", [part(5, PROBABILITIES[:1], ["x"], {})], item_count=11)

    expected = np.full((11, 3), np.nan, np.float32)
    expected[5] = PROBABILITIES[0]
    np.testing.assert_array_equal(expected, np.load(tmp_path / "r.npy"), strict=True)


def test_jsonl_has_a_valid_object_for_each_item(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", "jsonl")

    text = (tmp_path / "r.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    assert IDS == [row["item_id"] for row in rows]
    for expected, row in zip(PROBABILITIES, rows, strict=True):
        np.testing.assert_array_equal(expected, as_float32(row["probabilities"]))
    assert {
        "item_id": "a/1.png",
        "label": CLASSES[1],
        "score": 0.7,
        "top_labels": [CLASSES[1], CLASSES[2]],
        "top_scores": [0.7, 0.2],
        "probabilities": [0.1, 0.7, 0.2],
        "error": None,
        "model": "m:1",
    } == rows[0]
    assert {
        "item_id": 'quo"te',
        "label": None,
        "score": None,
        "top_labels": [],
        "top_scores": [],
        "probabilities": [None, None, None],
        "error": ERRORS[2],
        "model": "m:1",
    } == rows[2]


def test_all_classes_may_be_listed_and_of_equal_ones_the_earlier_is_first(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", "jsonl", top_k=99)

    last = json.loads((tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert [CLASSES[0], CLASSES[2], CLASSES[1]] == last["top_labels"]


def test_csv_reads_back_whatever_the_names_are(tmp_path: Path) -> None:
    write(tmp_path / "r.csv", "csv")

    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    names = ["item_id", "label", "score", "top2_label", "top2_score"]
    assert [*names, *(f"p_{name}" for name in CLASSES), "error", "model"] == header
    assert IDS == [row[0] for row in rows]
    for expected, row in zip(PROBABILITIES, rows, strict=True):
        np.testing.assert_array_equal(expected, as_float32(row[5:8]))
    assert [CLASSES[1], "0.7", CLASSES[2], "0.2"] == rows[0][1:5]
    assert ["", "", "", "", "", "", "", ERRORS[2], "m:1"] == rows[2][1:]


def test_parquet_has_typed_columns(tmp_path: Path) -> None:
    write(tmp_path / "r.parquet", "parquet")

    table = pq.read_table(tmp_path / "r.parquet")
    assert "fixed_size_list<element: float>[3]" == str(table.schema.field("probabilities").type)
    flat = table["probabilities"].combine_chunks().values.to_numpy()
    np.testing.assert_array_equal(PROBABILITIES, flat.reshape(5, 3), strict=True)
    rows = table.drop_columns("probabilities").to_pylist()
    assert IDS == [row["item_id"] for row in rows]
    assert {
        "item_id": "a/1.png",
        "label": CLASSES[1],
        "score": float(np.float32(0.7)),
        "top_labels": [CLASSES[1], CLASSES[2]],
        "top_scores": [float(np.float32(0.7)), float(np.float32(0.2))],
        "error": None,
        "model": "m:1",
    } == rows[0]
    assert (None, None, [], [], ERRORS[2]) == tuple(
        rows[2][name] for name in ("label", "score", "top_labels", "top_scores", "error")
    )


@given(
    hnp.arrays(np.float32, (3, 2), elements=st.floats(0, 1, width=32)),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=3, max_size=3),
)
@settings(deadline=None)
def test_any_ids_and_numbers_survive_as_text(
    tmp_path_factory: pytest.TempPathFactory, probabilities: np.ndarray, ids: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("export")
    for fmt in ("csv", "jsonl"):
        write(folder / fmt, fmt, [part(0, probabilities, ids, {})], classes=["a", "b"])

    with (folder / "csv").open(encoding="utf-8", newline="") as file:
        from_csv = list(csv.DictReader(file))
    lines = (folder / "jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    from_jsonl = [json.loads(line) for line in lines]
    assert ids == [row["item_id"] for row in from_csv] == [row["item_id"] for row in from_jsonl]
    for expected, row, record in zip(probabilities, from_csv, from_jsonl, strict=True):
        np.testing.assert_array_equal(expected, as_float32([row["p_a"], row["p_b"]]))
        np.testing.assert_array_equal(expected, as_float32(record["probabilities"]))


def test_values_are_columns_by_their_names(tmp_path: Path) -> None:
    values = np.array([[21.7, -1e-3], [np.nan, np.nan]], np.float32)
    failed = part(0, values, ["i0", "i1"], {1: "too short"})
    job = {"classes": ["price", "rent"], "item_count": 2, "task": "regression"}
    for fmt in FORMATS:
        write(tmp_path / fmt, fmt, [failed], **job)

    lines = (tmp_path / "jsonl").read_text(encoding="utf-8").splitlines()
    assert [
        {"item_id": "i0", "price": 21.7, "rent": -0.001, "error": None, "model": "m:1"},
        {"item_id": "i1", "price": None, "rent": None, "error": "too short", "model": "m:1"},
    ] == [json.loads(line) for line in lines]
    with (tmp_path / "csv").open(encoding="utf-8", newline="") as file:
        assert [
            ["item_id", "price", "rent", "error", "model"],
            ["i0", "21.7", "-0.001", "", "m:1"],
            ["i1", "", "", "too short", "m:1"],
        ] == list(csv.reader(file))
    table = pq.read_table(tmp_path / "parquet")
    assert ["item_id", "price", "rent", "error", "model"] == table.column_names
    assert "float" == str(table.schema.field("price").type)
    assert [float(np.float32(21.7)), None] == table["price"].to_pylist()
    np.testing.assert_array_equal(values, np.load(tmp_path / "npy"), strict=True)


def test_text_goes_to_standard_output(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    write(None, "jsonl")

    lines = capsysbinary.readouterr().out.decode().splitlines()
    assert IDS == [json.loads(line)["item_id"] for line in lines]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such devices here")
def test_a_device_is_written_to_and_never_replaced() -> None:
    write(Path("/dev/null"), "csv")

    assert Path("/dev/null").is_char_device()
    with pytest.raises(UsageError, match="not a regular file"):
        write(Path("/dev/null"), "npy")
    for fmt in ("csv", "jsonl"):
        with pytest.raises(LocalDiskError, match=r"/dev/full cannot be written \(No space left"):
            write(Path("/dev/full"), fmt)


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, fmt: str) -> None:
    def failing() -> Iterator[ShardResult]:
        yield next(parts())
        raise StoreUnavailableError("the store is gone; start it")

    path = tmp_path / "r"
    path.write_bytes(b"old" * 10_000)

    with pytest.raises(StoreUnavailableError, match="the store is gone"):
        write(path, fmt, failing())
    assert b"old" * 10_000 == path.read_bytes()

    write(path, fmt)
    assert not path.read_bytes().endswith(b"old")
    assert [path] == list(tmp_path.iterdir())


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """The system refuses files of more than 4 KB, as it does on a full disk.

    No fixture: pytest's own report may go to a file, and is written before fixtures end.
    """
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits here")
@pytest.mark.parametrize("fmt", FORMATS)
def test_a_disk_that_refuses_midway_is_one_line_and_leaves_nothing(
    tmp_path: Path, fmt: str
) -> None:
    random = np.random.default_rng(0).random((3000, 3), dtype=np.float32)
    many = part(0, random, [str(n) for n in range(3000)], {})

    with (
        pytest.raises(LocalDiskError, match=r"r cannot be written \(File too large\); free space"),
        small_files(),
    ):
        write(tmp_path / "r", fmt, [many], item_count=3000)

    assert [] == list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LocalDiskError, match="No such file or directory"):
        write(tmp_path / "missing" / "r.csv", "csv")
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        write(tmp_path, "csv")


@pytest.mark.parametrize("fmt", FORMATS)
def test_shards_are_not_kept(tmp_path: Path, fmt: str) -> None:
    arrays: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    def watched() -> Iterator[ShardResult]:
        for shard in range(10):
            alive.append(sum(array() is not None for array in arrays))
            probabilities = PROBABILITIES[:1].copy()
            arrays.append(weakref.ref(probabilities))
            yield part(shard, probabilities, ["x"], {})
            del probabilities

    write(tmp_path / "r", fmt, watched(), item_count=10)

    # The writer's loop holds the last shard while it asks for the next.
    assert 1 == max(alive)
