"""Results as files: every format reads back as the same float32; a full disk is one line."""

import contextlib
import csv
import json
import re
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
from pyarrow import ipc

from fornada.errors import LocalDiskError, StoreUnavailableError, UsageError
from fornada.tensors import OutputTensor
from producer.exporting.catalog import FORMATS
from producer.exporting.cells import plain
from producer.exporting.files import write_results
from producer.exporting.interface import Export
from producer.item_results import ShardResult

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


OUTPUT = OutputTensor(name="outputs", shape=[3], kind="probabilities", classes=CLASSES)


def part(
    first_item: int,
    rows: np.ndarray,
    ids: list[str],
    errors: dict[int, str],
    output: OutputTensor = OUTPUT,
) -> ShardResult:
    return ShardResult(
        shard=first_item,
        first_item=first_item,
        gives=[output],
        outputs={output.name: rows},
        item_ids=ids,
        errors=errors,
    )


def parts() -> Iterator[ShardResult]:
    yield part(0, PROBABILITIES[:3], IDS[:3], ERRORS)
    yield part(3, PROBABILITIES[3:], IDS[3:], {})


def write(
    path: Path | None, fmt: str, given: Iterable[ShardResult] = (), **changes: Any
) -> list[Path]:
    """Write `given`, by default the results above, with two classes listed."""
    top_k = 2 if FORMATS[fmt].has_rows else None
    of_job = {"item_count": 5, "gives": [OUTPUT], "top_k": top_k, "model": "m:1", **changes}
    return write_results(Export(parts=given or parts(), **of_job), path=path, fmt=fmt)


def csv_rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def json_rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def as_float32(values: list[object]) -> np.ndarray:
    return np.array([np.nan if v in {None, ""} else v for v in values], dtype=np.float32)


def test_npy_is_the_outputs_in_order_with_their_ids_beside(tmp_path: Path) -> None:
    ids = ["a/1.png", " 2 ", 'quo"te', "", "ü"]
    given = [part(0, PROBABILITIES[:3], ids[:3], ERRORS), part(3, PROBABILITIES[3:], ids[3:], {})]

    written = write(tmp_path / "r.npy", "npy", given)

    assert [tmp_path / "r.npy", tmp_path / "r.ids.txt"] == written
    np.testing.assert_array_equal(PROBABILITIES, np.load(tmp_path / "r.npy"), strict=True)
    assert ids == (tmp_path / "r.ids.txt").read_text(encoding="utf-8").split("\n")[:-1]


def test_an_id_with_a_line_break_is_no_line_of_a_file_of_ids(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'2,3\\r\\n' has a line break, .* use format npz"):
        write(tmp_path / "r.npy", "npy")

    assert [] == list(tmp_path.iterdir())


def test_npz_has_outputs_ids_and_reasons_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("r.npz", "again.npz"):
        write(tmp_path / name, "npz")

    with np.load(tmp_path / "r.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert ["failed", "ids", "outputs", "reasons"] == sorted(arrays)
    np.testing.assert_array_equal(PROBABILITIES, arrays["outputs"], strict=True)
    assert IDS == arrays["ids"].tolist()
    assert ERRORS == dict(zip(arrays["failed"].tolist(), arrays["reasons"].tolist(), strict=True))
    assert (tmp_path / "r.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_jsonl_has_a_valid_object_for_each_item(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", "jsonl")

    rows = json_rows(tmp_path / "r.jsonl")
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


def test_csv_has_the_top_classes_and_a_column_for_each(tmp_path: Path) -> None:
    write(tmp_path / "r.csv", "csv", is_raw=True)

    header, *rows = csv_rows(tmp_path / "r.csv")
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


_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    hnp.arrays(np.float32, (3, 2), elements=st.floats(0, 1, width=32)),
    st.lists(
        st.one_of(_TEXT, st.tuples(st.sampled_from("'=+-@\t\r\n"), _TEXT).map("".join)),
        min_size=3,
        max_size=3,
    ),
)
@settings(deadline=None)
def test_any_ids_and_numbers_survive_as_text(
    tmp_path_factory: pytest.TempPathFactory, probabilities: np.ndarray, ids: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("export")
    output = OUTPUT.model_copy(update={"shape": [2], "classes": ["a", "b"]})
    given_parts = [part(0, probabilities, ids, {}, output)]
    for name, fmt, is_raw in (
        ("raw", "csv", True),
        ("csv", "csv", False),
        ("jsonl", "jsonl", False),
    ):
        write(folder / name, fmt, given_parts, gives=[output], is_raw=is_raw)

    (header, *raw), (_, *safe) = csv_rows(folder / "raw"), csv_rows(folder / "csv")
    from_raw = [dict(zip(header, row, strict=True)) for row in raw]
    lines = (folder / "jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    from_jsonl = [json.loads(line) for line in lines]
    assert ids == [row["item_id"] for row in from_raw] == [row["item_id"] for row in from_jsonl]
    for expected, row, record in zip(probabilities, from_raw, from_jsonl, strict=True):
        np.testing.assert_array_equal(expected, as_float32([row["p_a"], row["p_b"]]))
        np.testing.assert_array_equal(expected, as_float32(record["probabilities"]))
    # and what spreadsheets would run begins with ', which drops off again
    assert not [row for row in safe if row[0] and row[0][0] in "=+-@\t\r\n"]
    assert ids == [re.sub(r"^'(?='*[=+\-@\t\r\n])", "", row[0]) for row in safe]


@given(hnp.arrays(np.uint32, 64), hnp.arrays(np.float32, 64, elements=st.floats(0, 1, width=32)))
@settings(deadline=None)
def test_numbers_are_the_shortest_that_read_back_the_same(
    bits: np.ndarray, probabilities: np.ndarray
) -> None:
    powers = (2.0 ** np.arange(-149, 128)).astype(np.float32)
    tens = (10.0 ** np.arange(-40, 38)).astype(np.float32)
    numbers = np.concatenate([bits.view(np.float32), probabilities, powers, tens, -tens])

    expected = [float(str(n)) if np.isfinite(n) else None for n in numbers]
    assert expected == plain(numbers)


#: Of each kind: output, rows, JSON without item_id, error and model, and the lines of CSV.
_NAN = float("nan")
KINDS: dict[str, tuple[dict[str, Any], list[Any], list[dict[str, Any]], list[str]]] = {
    "binary": (
        {"shape": [1], "classes": ["no", "=yes"]},
        [[0.25], [_NAN], [0.5], [_NAN]],
        [
            {"label": "no", "score": 0.75, "p_=yes": 0.25},
            {"label": None, "score": None, "p_=yes": None},
            {"label": "=yes", "score": 0.5, "p_=yes": 0.5},
            {"label": None, "score": None, "p_=yes": None},
        ],
        [
            "item_id,label,score,p_=yes,error,model",
            "i0,no,0.75,0.25,,m:1",
            "i1,,,,too short,m:1",
            "i2,'=yes,0.5,0.5,,m:1",
            "i3,,,,,m:1",
        ],
    ),
    "multilabel": (
        {"shape": [2], "classes": ["cat", 'a "dog"'], "threshold": 0.75},
        [[0.75, 0.9], [_NAN, _NAN], [0.5, 0.1], [_NAN, 1]],
        [
            {"labels": ["cat", 'a "dog"'], "scores": [0.75, 0.9], "probabilities": [0.75, 0.9]},
            {"labels": None, "scores": None, "probabilities": [None, None]},
            {"labels": [], "scores": [], "probabilities": [0.5, 0.1]},
            {"labels": None, "scores": None, "probabilities": [None, 1.0]},
        ],
        [
            'item_id,labels,scores,p_cat,"p_a ""dog""",error,model',
            'i0,"[""cat"", ""a \\""dog\\""""]","[0.75, 0.9]",0.75,0.9,,m:1',
            "i1,,,,,too short,m:1",
            "i2,[],[],0.5,0.1,,m:1",
            "i3,,,,1.0,,m:1",
        ],
    ),
    "values": (
        {"shape": [2], "classes": ["price", "-rent"]},
        [[21.7, -1e-3], [_NAN, _NAN], [0, 1], [_NAN, float("inf")]],
        [
            {"price": 21.7, "-rent": -0.001},
            {"price": None, "-rent": None},
            {"price": 0.0, "-rent": 1.0},
            {"price": None, "-rent": None},
        ],
        [
            "item_id,price,'-rent,error,model",
            "i0,21.7,-0.001,,m:1",
            "i1,,,too short,m:1",
            "i2,0.0,1.0,,m:1",
            "i3,,,,m:1",
        ],
    ),
    "embedding": (
        {"shape": [2]},
        [[0.1, -2], [_NAN, _NAN], [3, 4], [_NAN, 5]],
        [
            {"embedding": [0.1, -2.0]},
            {"embedding": [None, None]},
            {"embedding": [3.0, 4.0]},
            {"embedding": [None, 5.0]},
        ],
        [
            "item_id,e_0,e_1,error,model",
            "i0,0.1,-2.0,,m:1",
            "i1,,,too short,m:1",
            "i2,3.0,4.0,,m:1",
            "i3,,5.0,,m:1",
        ],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_as_the_kind_of_output_has_them(tmp_path: Path, kind: str) -> None:
    # given an item that failed, and one with NaN, which the model is allowed to give
    facts, numbers, records, lines = KINDS[kind]
    output = OutputTensor(name="o", kind=kind, finite=False, **facts)
    rows = np.array(numbers, np.float32)
    ids = [f"i{number}" for number in range(len(rows))]

    # when
    for fmt in FORMATS:
        parts_of_kind = [
            part(0, rows[:2], ids[:2], {1: "too short"}, output),
            part(2, rows[2:], ids[2:], {}, output),
        ]
        job = {"item_count": len(rows), "gives": [output], "top_k": None}
        write(tmp_path / fmt, fmt, parts_of_kind, **job)

    # then
    errors = [None, "too short", None, None]
    expected = [
        {"item_id": item_id, **record, "error": error, "model": "m:1"}
        for item_id, record, error in zip(ids, records, errors, strict=True)
    ]
    assert expected == json_rows(tmp_path / "jsonl")
    assert lines == (tmp_path / "csv").read_text(encoding="utf-8").splitlines()
    table = pq.read_table(tmp_path / "parquet")
    assert list(expected[0]) == table.column_names
    assert ids == table["item_id"].to_pylist()
    own = table.select([name for name in table.column_names if name in records[0]])
    assert _as_float32(records) == _as_float32(own.to_pylist())
    np.testing.assert_array_equal(rows, np.load(tmp_path / "npy"), strict=True)
    np.testing.assert_array_equal(rows, np.load(tmp_path / "npz")["o"], strict=True)


def _as_float32(cell: Any) -> Any:
    """The cells with every number as the nearest float32, and null for NaN."""
    if isinstance(cell, dict):
        return {name: _as_float32(inner) for name, inner in cell.items()}
    if isinstance(cell, list):
        return [_as_float32(inner) for inner in cell]
    if isinstance(cell, float):
        return float(np.float32(cell)) if np.isfinite(cell) else None
    return cell


def test_columns_of_several_outputs_begin_with_their_names(tmp_path: Path) -> None:
    # given an item that failed; whole numbers have no NaN
    outputs = [
        OutputTensor(
            name="kind", dtype="uint8", shape=[2], kind="probabilities", classes=["a", "b"]
        ),
        OutputTensor(name="spam", shape=[], kind="binary"),
        OutputTensor(name="size", dtype="int64", shape=[1], kind="values", classes=["cm"]),
        OutputTensor(name="age", shape=[], kind="values"),
        OutputTensor(name="face", shape=[2], kind="embedding"),
    ]
    rows = {
        "kind": np.uint8([[1, 255], [0, 0]]),
        "spam": np.float32([0.75, _NAN]),
        "size": np.int64([[7], [0]]),
        "age": np.float32([40.5, _NAN]),
        "face": np.float32([[0.1, 2], [_NAN, _NAN]]),
    }
    several = ShardResult(
        shard=0, first_item=0, gives=outputs, outputs=rows, item_ids=["x", "y"], errors={1: "bad"}
    )

    for fmt in ("csv", "jsonl", "parquet", "arrow"):
        write(tmp_path / fmt, fmt, [several], item_count=2, gives=outputs, top_k=1)

    of_kind, of_spam = "kind.label,kind.score,kind.p_a,kind.p_b", "spam.label,spam.score,spam.p_1"
    assert [
        f"item_id,{of_kind},{of_spam},size.cm,age,face.e_0,face.e_1,error,model",
        "x,b,255.0,1,255,1,0.75,0.75,7,40.5,0.1,2.0,,m:1",
        "y,,,,,,,,,,,,bad,m:1",
    ] == (tmp_path / "csv").read_text(encoding="utf-8").splitlines()
    good, bad = json_rows(tmp_path / "jsonl")
    assert {
        "item_id": "x",
        "kind.label": "b",
        "kind.score": 255.0,
        "kind.top_labels": ["b"],
        "kind.top_scores": [255.0],
        "kind.probabilities": [1, 255],
        "spam.label": "1",
        "spam.score": 0.75,
        "spam.p_1": 0.75,
        "size.cm": 7,
        "age": 40.5,
        "face": [0.1, 2.0],
        "error": None,
        "model": "m:1",
    } == good
    assert (None, None, [None, None]) == (bad["kind.probabilities"], bad["size.cm"], bad["face"])
    for table in (
        pq.read_table(tmp_path / "parquet"),
        ipc.open_file(tmp_path / "arrow").read_all(),
    ):
        first, second = table.to_pylist()
        assert good == {**first, "face": good["face"]}
        assert (None, None) == (second["kind.probabilities"], second["size.cm"])


def test_a_tensor_keeps_its_shape_as_an_array_and_fits_no_row(tmp_path: Path) -> None:
    output = OutputTensor(name="mask", shape=[2, 3], kind="tensor")
    rows = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    given_parts = [part(0, rows, ["a", "b"], {}, output)]
    job = {"item_count": 2, "gives": [output], "top_k": None}

    write(tmp_path / "r.npz", "npz", given_parts, **job)

    np.testing.assert_array_equal(rows, np.load(tmp_path / "r.npz")["mask"], strict=True)
    with pytest.raises(UsageError, match=r"'mask' has shape \[2, 3\], which fits no row of CSV"):
        write(tmp_path / "r.csv", "csv", given_parts, **job)


def test_a_scalar_output_is_a_column_and_a_flat_array(tmp_path: Path) -> None:
    output = OutputTensor(name="sum", shape=[], kind="values", classes=["sum"])
    given_parts = [part(0, np.float32([1, 2]), ["a", "b"], {}, output)]
    job = {"item_count": 2, "gives": [output], "top_k": None}

    for fmt in ("npy", "csv"):
        write(tmp_path / fmt, fmt, given_parts, **job)

    np.testing.assert_array_equal(np.float32([1, 2]), np.load(tmp_path / "npy"), strict=True)
    assert ["sum", "1.0", "2.0"] == [row[1] for row in csv_rows(tmp_path / "csv")]


def test_options_that_a_format_or_kind_has_no_use_for_are_refused(tmp_path: Path) -> None:
    values = OutputTensor(name="o", shape=[3], kind="values", classes=["a", "b", "c"])
    for fmt, changes, fact in (
        ("npy", {"top_k": 2}, "npy has all outputs and lists no classes; leave top_k out"),
        ("jsonl", {"is_raw": True}, "no spreadsheet runs cells of jsonl; leave --raw out"),
        ("csv", {"gives": [values]}, "top_k lists the likeliest classes, and m:1 gives values"),
    ):
        with pytest.raises(UsageError, match=fact):
            write(tmp_path / "r", fmt, **changes)
    assert [] == list(tmp_path.iterdir())


def test_names_that_would_be_two_columns_or_arrays_are_refused(tmp_path: Path) -> None:
    values = OutputTensor(name="ids", shape=[2], kind="values", classes=["price", "error"])
    for fmt, fact in (
        ("csv", "m:1 gives several columns named error; use"),
        ("npz", "m:1 has an output named ids, like another array"),
    ):
        with pytest.raises(UsageError, match=fact):
            write(tmp_path / "r", fmt, gives=[values], top_k=None)


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
        yield part(0, PROBABILITIES, [*"abcde"], ERRORS)
        raise StoreUnavailableError("the store is gone; start it")

    path = tmp_path / "r"
    path.write_bytes(b"old" * 10_000)
    beside = [tmp_path / "r.ids.txt"] if FORMATS[fmt].ids_beside else []

    with pytest.raises(StoreUnavailableError, match="the store is gone"):
        write(path, fmt, failing())
    assert b"old" * 10_000 == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())

    write(path, fmt, [part(0, PROBABILITIES, [*"abcde"], ERRORS)])
    assert not path.read_bytes().endswith(b"old")
    assert [path, *beside] == sorted(tmp_path.iterdir())


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
