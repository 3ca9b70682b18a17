"""Columns of a table become inputs and a target."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.errors import InputError, UsageError
from trainer.data.custom import load_custom
from trainer.data.dataset import Dataset
from trainer.data.table import TableOptions

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

_ROWS = 40
_NUMBERS = np.arange(_ROWS)


def _parquet(folder: Path, **columns: Any) -> Path:
    path = folder / "rows.parquet"
    parquet.write_table(pa.table(columns), path)
    return path


def _csv(folder: Path, text: str) -> Path:
    path = folder / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return path


def _load(path: Path, target: str = "y", **options: Any) -> Dataset:
    return load_custom(path, table=TableOptions(target=target, **options))


def _all(dataset: Dataset, name: str) -> set[Any]:
    both = (dataset.train_items, dataset.test_items)
    return {value for items in both for value in items[name][:, 0].tolist()}  # type: ignore[index]  # a mapping


def test_a_csv_file_has_numbers_texts_and_truths(tmp_path: Path) -> None:
    lines = [
        f"{n};{n + 0.5};{'NA' if n == 3 else n};{('ä', 'b; c', '')[n % 3]!r};{n % 2 == 0};{n % 2}"
        for n in range(_ROWS)
    ]
    text = ";whole;gaps;text;truth;y\n" + "\n".join(lines).replace("'", '"')

    dataset = _load(_csv(tmp_path, text))

    assert ["gaps", "text", "truth", "whole"] == list(dataset.train_items)
    assert (32, 8) == (len(dataset.train_targets), len(dataset.test_targets))
    for name, array in dataset.train_items.items():
        assert ((32, 1), object if name == "text" else np.float32) == (array.shape, array.dtype)
    assert {"ä".encode(), b"b; c", b""} == _all(dataset, "text")
    assert {0.0, 1.0} == _all(dataset, "truth")
    assert {"gaps"} == set(dataset.fill)
    assert dataset.fill["gaps"] in _all(dataset, "gaps")
    assert [""] == list(dataset.left_out)


def test_the_target_says_what_is_learned(tmp_path: Path) -> None:
    x = _NUMBERS * 1.5
    for y, kind, expected, classes in (
        (_NUMBERS % 2, None, "binary", ["0", "1"]),
        (_NUMBERS % 2 == 0, None, "binary", ["false", "true"]),
        (_NUMBERS % 3 * 2.0, None, "probabilities", ["0", "2", "4"]),
        ([f"é{n % 4}" for n in _NUMBERS], None, "probabilities", ["é0", "é1", "é2", "é3"]),
        (_NUMBERS, None, "values", ["y"]),
        (_NUMBERS % 3 / 2, None, "values", ["y"]),
        (_NUMBERS % 3, "values", "values", ["y"]),
        (_NUMBERS % 12, "probabilities", "probabilities", [str(n) for n in range(12)]),
        (_NUMBERS % 2, "probabilities", "probabilities", ["0", "1"]),
    ):
        dataset = _load(_parquet(tmp_path, x=x, y=y), kind=kind)

        assert (expected, classes) == (dataset.kind, dataset.classes)
        wanted = np.float32 if expected == "values" else np.int64
        assert wanted == dataset.train_targets.dtype


def test_rows_that_cannot_be_learned_from_are_left_out_and_said(tmp_path: Path) -> None:
    # given no target, no text, infinity and no number, each in one row
    y: list[Any] = ["a", "b"] * (_ROWS // 2)
    words: list[Any] = ["x"] * _ROWS
    numbers: list[Any] = _NUMBERS.tolist()
    y[0], y[1], words[2], numbers[3], numbers[4] = None, "", None, float("inf"), None
    path = _parquet(tmp_path, y=y, words=words, number=pa.array(numbers, pa.float64()))

    dataset = _load(path)

    assert _ROWS - 4 == len(dataset.train_targets) + len(dataset.test_targets)
    assert [
        f"2 rows have no 'y' in {path}",
        f"1 row has infinity in 'number' in {path}",
        f"1 row has no 'words' in {path}",
    ] == list(dataset.left_out.values())
    assert {b"x"} == _all(dataset, "words")
    assert np.isfinite(list(_all(dataset, "number"))).all()


def test_what_cannot_be_learned_is_one_sentence(tmp_path: Path) -> None:
    times = pa.array(_NUMBERS, pa.timestamp("ms"))
    good: dict[str, Any] = {"x": _NUMBERS, "y": _NUMBERS % 2}
    for columns, options, fact in (
        (good, {"target": "z"}, "has no column 'z'; it has 'x', 'y'"),
        (good, {"drop": ["z"]}, "has no column 'z'"),
        (good, {"drop": ["x"]}, "has 0 columns to learn from"),
        (good | {"t": times}, {}, r"neither numbers nor text: 't' \(timestamp\[ms\]\); convert"),
        (good | {"a/b": _NUMBERS}, {}, "has a column 'a/b'; rename it"),
        (good | {"y": times}, {}, r"the target 'y' .* holds timestamp\[ms\]"),
        (good | {"y": ["a", "b"] * 20}, {"kind": "values"}, "holds text"),
        (good | {"y": _NUMBERS % 3}, {"kind": "binary"}, "3 classes, one a row, which is not bin"),
        (good | {"y": ["a"] * _ROWS}, {}, "has 1 classes; a model learns 2"),
        ({"x": [1, 2], "y": [0, 1]}, {}, "has 2 rows to learn from, of 2; it needs 10"),
        ({f"x{n}": [1] * 20 for n in range(65)} | {"y": [0, 1] * 10}, {}, "has 65 columns"),
    ):
        with pytest.raises(InputError, match=fact):
            _load(_parquet(tmp_path, **columns), **options)
    path = _parquet(tmp_path, **good)
    with pytest.raises(UsageError, match="'y' is the target, and is dropped"):
        _load(path, drop=["y"])
    with pytest.raises(UsageError, match="is a table; name the column to predict with --target"):
        load_custom(path)
    for text in ("x,y\n1,2,3\n", "x,x\n1,2\n", "\xff"):
        with pytest.raises(InputError, match=r"rows\.csv"):
            _load(_csv(tmp_path, text))
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        _load(tmp_path / "none.csv")
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1" * 5)
    with pytest.raises(InputError, match=r"damaged\.parquet cannot be read"):
        _load(damaged)


def test_other_rows_have_another_digest(tmp_path: Path) -> None:
    texts = [["ab", "c"] * 20, ["a", "bc"] * 20]
    first, second = (
        _load(_parquet(tmp_path, x=each, y=_NUMBERS % 2)).train_sha256 for each in texts
    )

    assert first != second
