"""Results as files: every format reads back as the same float32, and a full disk is one line."""

import contextlib
import csv
import json
import re
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fornada.errors import LocalDiskError, MissingExtraError, StoreUnavailableError, UsageError
from producer.exporting import npy
from producer.exporting.files import Format, write_results
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
FORMATS: list[Format] = ["npy", "parquet", "csv", "jsonl"]


def parts() -> Iterator[ShardResult]:
    yield ShardResult(
        shard=0, first_item=0, item_ids=IDS[:3], probabilities=PROBABILITIES[:3], errors=ERRORS
    )
    yield ShardResult(
        shard=1, first_item=3, item_ids=IDS[3:], probabilities=PROBABILITIES[3:], errors={}
    )


def write(path: Path | None, fmt: Format, *, item_count: int = 5, top_k: int = 2) -> None:
    write_results(
        parts(),
        path=path,
        fmt=fmt,
        classes=CLASSES,
        item_count=item_count,
        top_k=top_k,
        model="m:1",
    )


def as_float32(values: list[object]) -> np.ndarray:
    return np.array([np.nan if v in {None, ""} else v for v in values], dtype=np.float32)


def test_npy_is_the_probabilities_in_order(tmp_path: Path) -> None:
    write(tmp_path / "r.npy", "npy")

    np.testing.assert_array_equal(PROBABILITIES, np.load(tmp_path / "r.npy"), strict=True)


def test_npy_of_a_job_that_is_not_done_is_nan_where_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npy, "VALUES_AT_A_TIME", 6)
    part = ShardResult(
        shard=1, first_item=5, item_ids=["x"], probabilities=PROBABILITIES[:1], errors={}
    )

    write_results(
        [part], path=tmp_path / "r.npy", fmt="npy", classes=CLASSES, item_count=11, model="m:1"
    )

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


def test_of_equal_probabilities_the_earlier_class_is_first(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", "jsonl", top_k=3)

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


def test_more_top_classes_than_there_are_is_all_of_them(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", "jsonl", top_k=99)

    first = (tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()[0]
    assert 3 == len(json.loads(first)["top_labels"])


@given(
    hnp.arrays(np.float32, (3, 2), elements=st.floats(0, 1, width=32)),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=3, max_size=3),
)
@settings(deadline=None)
def test_any_ids_and_numbers_survive_as_text(
    tmp_path_factory: pytest.TempPathFactory, probabilities: np.ndarray, ids: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("export")
    part = ShardResult(shard=0, first_item=0, item_ids=ids, probabilities=probabilities, errors={})
    for fmt in FORMATS[2:]:
        write_results(
            [part], path=folder / fmt, fmt=fmt, classes=["a", "b"], item_count=3, model="m:1"
        )

    with (folder / "csv").open(encoding="utf-8", newline="") as file:
        from_csv = list(csv.DictReader(file))
    lines = (folder / "jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    from_jsonl = [json.loads(line) for line in lines]
    assert ids == [row["item_id"] for row in from_csv] == [row["item_id"] for row in from_jsonl]
    for expected, row, record in zip(probabilities, from_csv, from_jsonl, strict=True):
        np.testing.assert_array_equal(expected, as_float32([row["p_a"], row["p_b"]]))
        np.testing.assert_array_equal(expected, as_float32(record["probabilities"]))


def _values(rows: list[list[float]]) -> list[ShardResult]:
    return [
        ShardResult(
            shard=0,
            first_item=0,
            item_ids=[f"i{number}" for number in range(len(rows))],
            probabilities=np.array(rows, np.float32),
            errors={1: "too short"},
        )
    ]


def _write_values(path: Path, fmt: Format, names: list[str]) -> None:
    write_results(
        _values([[21.7, -1e-3], [np.nan, np.nan]]),
        path=path,
        fmt=fmt,
        classes=names,
        item_count=2,
        model="m:1",
        task="regression",
    )


def test_values_are_columns_by_their_names(tmp_path: Path) -> None:
    for fmt in FORMATS:
        _write_values(tmp_path / fmt, fmt, ["price", "rent"])

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
    expected = np.array([[21.7, -1e-3], [np.nan, np.nan]], np.float32)
    np.testing.assert_array_equal(expected, np.load(tmp_path / "npy"), strict=True)


@pytest.mark.parametrize("names", [["price", "price"], ["error"]])
def test_values_that_would_share_a_column_are_refused_but_for_npy(
    tmp_path: Path, names: list[str]
) -> None:
    part = ShardResult(
        shard=0,
        first_item=0,
        item_ids=["x"],
        probabilities=np.zeros((1, len(names)), np.float32),
        errors={},
    )
    common = {"classes": names, "item_count": 1, "model": "m:1", "task": "regression"}

    with pytest.raises(UsageError, match=f"values named {names[0]}, as another column"):
        write_results([part], path=tmp_path / "r", fmt="csv", **common)  # type: ignore[arg-type]  # as given
    write_results([part], path=tmp_path / "r", fmt="npy", **common)  # type: ignore[arg-type]  # as given

    assert (1, len(names)) == np.load(tmp_path / "r").shape


def test_an_id_that_has_no_utf_8_is_escaped_everywhere(tmp_path: Path) -> None:
    part = ShardResult(
        shard=0, first_item=0, item_ids=["\udcff"], probabilities=PROBABILITIES[:1], errors={}
    )
    for fmt in FORMATS:
        write_results(
            [part], path=tmp_path / fmt, fmt=fmt, classes=CLASSES, item_count=1, model="m:1"
        )

    assert "\udcff" == json.loads((tmp_path / "jsonl").read_bytes())["item_id"]
    assert [r"\udcff"] == pq.read_table(tmp_path / "parquet")["item_id"].to_pylist()


def test_text_goes_to_standard_output(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    write(None, "jsonl")

    lines = capsysbinary.readouterr().out.decode().splitlines()
    assert IDS == [json.loads(line)["item_id"] for line in lines]


@pytest.mark.parametrize("fmt", ["npy", "parquet"])
def test_binary_formats_need_a_file(fmt: Format) -> None:
    with pytest.raises(UsageError, match=f"{fmt} cannot go to standard output; name a file"):
        write(None, fmt)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no devices here")
def test_a_device_is_written_to_and_never_replaced() -> None:
    write(Path("/dev/null"), "csv")

    assert Path("/dev/null").is_char_device()
    with pytest.raises(UsageError, match="no regular file"):
        write(Path("/dev/null"), "npy")


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_file_is_replaced_whole(tmp_path: Path, fmt: Format) -> None:
    path = tmp_path / "r"
    path.write_bytes(b"old" * 10_000)

    write(path, fmt)

    assert not path.read_bytes().endswith(b"old")
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_failure_midway_leaves_the_old_file_and_no_other(tmp_path: Path, fmt: Format) -> None:
    path = tmp_path / "r"
    path.write_bytes(b"old")

    def failing() -> Iterator[ShardResult]:
        yield next(parts())
        raise StoreUnavailableError("the store is gone; start it")

    with pytest.raises(StoreUnavailableError, match="the store is gone"):
        write_results(failing(), path=path, fmt=fmt, classes=CLASSES, item_count=5, model="m:1")

    assert b"old" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize("fmt", ["csv", "jsonl"])
def test_a_full_disk_is_one_line(fmt: Format) -> None:
    with pytest.raises(LocalDiskError, match=r"/dev/full cannot be written \(No space left"):
        write(Path("/dev/full"), fmt)


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
    tmp_path: Path, fmt: Format
) -> None:
    random = np.random.default_rng(0).random((3000, 3), dtype=np.float32)
    part = ShardResult(
        shard=0,
        first_item=0,
        item_ids=[str(n) for n in range(3000)],
        probabilities=random,
        errors={},
    )

    with (
        pytest.raises(LocalDiskError, match=r"r cannot be written \(File too large\); free space"),
        small_files(),
    ):
        write_results(
            [part], path=tmp_path / "r", fmt=fmt, classes=CLASSES, item_count=3000, model="m:1"
        )

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "error", "reason"),
    [
        ("missing/r.csv", LocalDiskError, "No such file or directory"),
        ("", UsageError, "is a folder; name a file in it"),
    ],
)
def test_a_path_that_cannot_be_written_is_one_line(
    tmp_path: Path, path: str, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        write(tmp_path / path, "csv")


def test_without_pyarrow_the_extra_is_named_and_nothing_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtraError, match=re.escape("pip install 'fornada[parquet]'")):
        write(tmp_path / "r.parquet", "parquet")

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("fmt", FORMATS)
def test_shards_are_not_kept(tmp_path: Path, fmt: Format) -> None:
    arrays: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    def watched() -> Iterator[ShardResult]:
        for shard in range(10):
            alive.append(sum(array() is not None for array in arrays))
            probabilities = PROBABILITIES[:1].copy()
            arrays.append(weakref.ref(probabilities))
            yield ShardResult(
                shard=shard,
                first_item=shard,
                item_ids=["x"],
                probabilities=probabilities,
                errors={},
            )
            del probabilities

    write_results(
        watched(), path=tmp_path / "r", fmt=fmt, classes=CLASSES, item_count=10, model="m:1"
    )

    # The writer's loop holds the last shard while it asks for the next.
    assert 1 == max(alive)
