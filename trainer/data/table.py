"""Tables: a CSV or Parquet file whose columns are inputs, and one of them the target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError, UsageError
from fornada.formats.items import Array
from fornada.formats.tables.binding import missing_column
from fornada.tensors import BINARY_CLASSES, MAX_TENSORS
from trainer.data.dataset import Dataset, TargetKind, Targets, kind_of_classes, split_order
from trainer.data.table_file import Cells, read_table

#: Distinct whole numbers of a target up to which they are classes, not values.
MOST_NUMBERED_CLASSES = 10
_MOST_CLASSES = 1000
_MAX_NAME_LENGTH = 200
_MIN_ROWS = 10
_REMEDY = "see docs/training.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableOptions:
    """What is learned from a table."""

    #: The column to predict.
    target: str
    #: Columns that are not inputs.
    drop: Sequence[str] = ()
    #: What the target is; `None`: by its values.
    kind: TargetKind | None = None


def load_table(path: Path, options: TableOptions) -> Dataset:
    """Load the rows of a CSV or Parquet file; the data set is named after it.

    Each column but the target is an input of its name: numbers are float32 [items, 1], texts
    UTF-8 `bytes` [items, 1]. A missing number becomes the median of the training rows, which
    `fill` says; rows without a target, or with a null text, are left out. A fifth of the rows
    becomes the test split, the same ones every time.

    Raises:
        InputError: The file cannot be read; a column is missing or holds no inputs; the target
            is not of the kind.
        UsageError: The target is dropped, or `kind` is not one of a column.
        MissingExtraError: pyarrow is not installed.
    """
    columns = read_table(path)
    for name in (options.target, *options.drop):
        if name not in columns:
            raise missing_column(name, columns, where=str(path))
    if options.target in options.drop:
        raise UsageError(f"{options.target!r} is the target, and is dropped; leave out one of them")
    target = columns[options.target]
    loader = _Loader(path=path, row_count=len(target.missing))
    # A text of nothing is a value of an input, but no class.
    loader.leave_out(target.missing | (target.values == b""), f"no {options.target!r}")
    inputs = loader.inputs(columns, {options.target, *options.drop})
    kept = np.flatnonzero(loader.kept)
    if len(kept) < _MIN_ROWS:
        raise InputError(
            f"{path} has {len(kept)} rows to learn from, of {loader.row_count}; it needs "
            f"{_MIN_ROWS}; {_REMEDY}"
        )
    targets, classes, kind = _target(target.at(kept), options, path)
    train, test = split_order(len(kept))
    items, fill = _filled({name: cells.at(kept) for name, cells in inputs.items()}, train)
    return Dataset(
        name=path.stem,
        kind=kind,
        train_items={name: array[train] for name, array in items.items()},
        train_targets=targets[train],
        test_items={name: array[test] for name, array in items.items()},
        test_targets=targets[test],
        classes=classes,
        fill=fill,
        left_out=loader.left_out,
    )


@dataclass(kw_only=True, slots=True)
class _Loader:
    """Chooses columns and rows, and says which it leaves out."""

    path: Path
    row_count: int
    left_out: dict[str, str] = field(default_factory=dict)
    kept: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.kept = np.ones(self.row_count, np.bool_)

    def inputs(self, columns: Mapping[str, Cells], others: set[str]) -> dict[str, Cells]:
        """The columns that are inputs, in the order of their names."""
        found = {}
        for name in sorted(columns.keys() - others):
            cells = columns[name]
            if not name:
                self.left_out[name] = f"{self.path} has a column without a name, as of an index"
            elif cells.missing.all():
                self.left_out[name] = f"{self.path} has nothing in {name!r}"
            else:
                found[name] = cells
        self._check(found)
        for name, cells in found.items():
            if cells.is_text:
                self.leave_out(cells.missing, f"no {name!r}")
            else:
                self.leave_out(np.isinf(cells.values), f"infinity in {name!r}")
        return found

    def leave_out(self, rows: NDArray[np.bool_], why: str) -> None:
        """Leave out some rows."""
        if count := int((rows & self.kept).sum()):
            noun = "row has" if count == 1 else "rows have"
            self.left_out[why] = f"{count} {noun} {why} in {self.path}"
            self.kept &= ~rows

    def _check(self, inputs: Mapping[str, Cells]) -> None:
        if not 0 < len(inputs) <= MAX_TENSORS:
            raise InputError(
                f"{self.path} has {len(inputs)} columns to learn from; a model takes 1 to "
                f"{MAX_TENSORS}; leave some out with --drop"
            )
        for name in inputs:
            if "/" in name or len(name) > _MAX_NAME_LENGTH:
                raise InputError(
                    f"{self.path} has a column {name[:60]!r}; rename it to up to "
                    f"{_MAX_NAME_LENGTH} characters without /, or leave it out with --drop"
                )
        wrong = {name: cells.refused for name, cells in inputs.items() if cells.refused}
        if wrong:
            listed = ", ".join(f"{name!r} ({why})" for name, why in wrong.items())
            raise InputError(
                f"{self.path} has columns that hold neither numbers nor text: {listed}; convert "
                "them, or leave them out with --drop"
            )


def _filled(inputs: Mapping[str, Cells], train: Any) -> tuple[dict[str, Array], dict[str, float]]:
    """The inputs as arrays [items, 1], and what replaces missing numbers in each."""
    items: dict[str, Array] = {}
    fill: dict[str, float] = {}
    for name, cells in inputs.items():
        values = cells.values
        if not cells.is_text and cells.missing.any():
            known = values[train][~cells.missing[train]]
            # A column may have numbers in test rows alone.
            fill[name] = float(np.float32(np.median(known))) if len(known) else 0.0
            values = np.where(cells.missing, np.float32(fill[name]), values)
        items[name] = values[:, np.newaxis]
    return items, fill


def _target(
    cells: Cells, options: TableOptions, path: Path
) -> tuple[Targets, list[str], TargetKind]:
    """The targets of all rows, the names of classes or value, and what they are."""
    name, kind = options.target, options.kind
    where = f"the target {name!r} of {path}"
    if cells.refused:
        raise InputError(f"{where} holds {cells.refused}; name a column of numbers or text")
    if cells.is_text and kind == "values":
        raise InputError(f"{where} holds text, such as {cells.values[0]!r}, not values; {_REMEDY}")
    if not cells.is_text and not np.isfinite(cells.values).all():
        raise InputError(f"{where} has infinity; leave such rows out")
    distinct, positions = np.unique(cells.values, return_inverse=True)
    if kind == "values" or (kind is None and not cells.is_text and _are_values(distinct)):
        return cells.values.astype(np.float32), [name], "values"
    classes = [_class_name(value, are_truths=cells.are_truths) for value in distinct]
    if not 1 < len(classes) <= _MOST_CLASSES:
        raise InputError(
            f"{where} has {len(classes)} classes; a model learns 2 to {_MOST_CLASSES}, or values"
        )
    kind = kind or kind_of_classes(classes)
    if kind == "multilabel" or (kind == "binary" and len(classes) != len(BINARY_CLASSES)):
        raise InputError(f"{where} has {len(classes)} classes, one a row, which is not {kind}")
    return positions.astype(np.int64), classes, kind


def _are_values(distinct: Array) -> bool:
    is_whole = bool((distinct == np.rint(distinct)).all())
    return len(distinct) > MOST_NUMBERED_CLASSES or not is_whole


def _class_name(value: Any, *, are_truths: bool) -> str:
    if isinstance(value, bytes):
        return value.decode()
    number = float(value)
    if are_truths:
        return str(bool(number)).lower()
    return str(int(number)) if number.is_integer() else f"{number:.9g}"
