"""The items of a shard or call, grouped by shape, and their outputs in its order."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fornada.errors import PredictionError
from fornada.formats.items import Array, non_finite_rows
from fornada.formats.rows import Rows, blank
from fornada.formats.tensor_file import Column
from fornada.records import ItemError
from fornada.tensors import InputTensor, OutputTensor, text_of

#: Most numbers of an item whose shape is open: an RGB photograph of 22 megapixels.
MAX_OPEN_ITEM_NUMBERS = 2**26

#: Longer reasons are cut.
MAX_REASON_CHARACTERS = 500


class Predicted(NamedTuple):
    """What a model gives for rows; anything where the row failed."""

    #: `None` if all rows failed.
    outputs: Rows | None
    #: Number of a row that failed -> why.
    errors: dict[int, str]
    #: Rows of every call that they were in, padding included.
    tile_items: int | None = None

    def parts(self, row_counts: Sequence[int]) -> list["Predicted"]:
        """The rows of each caller, of those predicted together."""
        parts, first = [], 0
        for count in row_counts:
            rows = range(first, first + count)
            errors = {row - first: why for row, why in self.errors.items() if row in rows}
            outputs = None if self.outputs is None else self.outputs[first : rows.stop]
            parts.append(Predicted(outputs, errors, self.tile_items))
            first = rows.stop
        return parts


class Placed(NamedTuple):
    """The outputs of a shard in its order, and its failed items, whose rows are NaN or blank."""

    #: One for each output.
    columns: list[Column]
    errors: list[ItemError]

    def parts(self, item_counts: Sequence[int]) -> list["Placed"]:
        """What each caller's items have, of those placed together."""
        parts, first, begin = [], 0, 0
        for count in item_counts:
            stop = first + count
            end = bisect_left(self.errors, stop, lo=begin, key=lambda error: error.index)
            errors = [
                ItemError(index=error.index - first, reason=error.reason)
                for error in self.errors[begin:end]
            ]
            parts.append(Placed([column[first:stop] for column in self.columns], errors))
            first, begin = stop, end
        return parts


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemGroup:
    """Items of the same shapes; `positions` are those in the shard."""

    rows: Rows
    positions: NDArray[np.int64]

    def where(self, wanted: NDArray[np.bool_]) -> "ItemGroup":
        """Some of the items."""
        return ItemGroup(rows=self.rows[wanted], positions=self.positions[wanted])


@dataclass(frozen=True, kw_only=True, slots=True)
class Items:
    """A shard's items: those to predict, and why the others cannot be."""

    #: One of each shape that occurs; none is empty.
    groups: list[ItemGroup]
    #: In the shard's order.
    errors: list[ItemError]

    @classmethod
    def of_columns(cls, columns: Sequence[Column], *, takes: Sequence[InputTensor]) -> Self:
        """The items of `columns`, one for each input, whose dtypes fit."""
        arrays = [column for column in columns if not isinstance(column, list)]
        if len(arrays) < len(columns):
            return cls.of_singles(enumerate(_singles(columns)), takes=takes)
        rows = Rows(*arrays)
        is_open = any(tensor.is_open for tensor in takes)
        if is_open and len(rows) and (why := _misfit(rows[:1], takes)) is not None:
            return cls(groups=[], errors=[ItemError(index=n, reason=why) for n in range(len(rows))])
        return cls._checked([ItemGroup(rows=rows, positions=np.arange(len(rows)))], [], takes)

    @classmethod
    def of_singles(
        cls, singles: Iterable[tuple[int, Rows | str]], *, takes: Sequence[InputTensor]
    ) -> Self:
        """Items that were read one by one.

        Args:
            singles: Each position in the shard, and the row of the item or why it cannot be read.
            takes: The inputs that they are for.
        """
        by_shape: dict[tuple[tuple[int, ...], ...], list[tuple[int, Rows]]] = {}
        errors = []
        for position, item in singles:
            why = item if isinstance(item, str) else _misfit(item, takes)
            if why is not None:
                errors.append(ItemError(index=position, reason=why[:MAX_REASON_CHARACTERS]))
            elif not isinstance(item, str):
                by_shape.setdefault(item.shapes, []).append((position, item))
        groups = [
            ItemGroup(
                rows=Rows.joined([item for _, item in alike]),
                positions=np.array([position for position, _ in alike], np.int64),
            )
            for alike in by_shape.values()
        ]
        return cls._checked(groups, errors, takes)

    @classmethod
    def _checked(
        cls, groups: list[ItemGroup], errors: list[ItemError], takes: Sequence[InputTensor]
    ) -> Self:
        """The groups without items whose values the inputs do not allow, which become errors."""
        kept = []
        for group in groups:
            whole = ItemGroup(rows=filled_rows(group.rows, takes), positions=group.positions)
            bad = not_finite_rows(whole.rows, takes)
            if bad:
                errors += [
                    ItemError(index=int(group.positions[row]), reason=why)
                    for row, why in bad.items()
                ]
                good = np.ones(len(whole.rows), np.bool_)
                good[list(bad)] = False
                whole = whole.where(good)
            kept.append(whole)
        return cls(groups=_without_empty(kept), errors=_in_order(errors))

    def without(self, errors: Sequence[ItemError]) -> "Items":
        """The items, less those that have failed already, with `errors`."""
        if not errors:
            return self
        known = {error.index for error in errors}
        groups = [group.where(~np.isin(group.positions, sorted(known))) for group in self.groups]
        others = [error for error in self.errors if error.index not in known]
        return Items(groups=_without_empty(groups), errors=_in_order([*others, *errors]))

    def between(self, first: int, count: int) -> "Items":
        """`count` items from `first` on, whose positions and errors count from there."""
        groups = []
        for group in self.groups:
            part = group.where((first <= group.positions) & (group.positions < first + count))
            groups.append(ItemGroup(rows=part.rows, positions=part.positions - first))
        errors = [
            ItemError(index=error.index - first, reason=error.reason)
            for error in self.errors
            if first <= error.index < first + count
        ]
        return Items(groups=_without_empty(groups), errors=errors)

    def predicted(self, predict: Callable[[Rows], Predicted]) -> list[Predicted]:
        """What `predict` gives for each group."""
        return [predict(group.rows) for group in self.groups]

    def placed(
        self, predicted: Sequence[Predicted], *, gives: Sequence[OutputTensor], item_count: int
    ) -> Placed:
        """The outputs in the shard's order, and all of its failed items.

        Args:
            predicted: What the model gave for each group.
            gives: The model's outputs, as the job has them.
            item_count: Items of the shard.

        Raises:
            PredictionError: The model gives other outputs.
        """
        errors, given = list(self.errors), []
        for group, found in zip(self.groups, predicted, strict=True):
            outputs, bad = found.outputs, dict(found.errors)
            if outputs is not None:
                _check_outputs(outputs, gives)
                bad = {**_non_finite(outputs, gives), **bad}
                given.append(_Given(group.positions, outputs, list(bad)))
            errors += [
                ItemError(index=int(group.positions[row]), reason=why) for row, why in bad.items()
            ]
        columns = [_column(tensor, at, given, item_count) for at, tensor in enumerate(gives)]
        return Placed(columns, _in_order(errors))


class _Given(NamedTuple):
    """The outputs of a group, and its rows that failed."""

    positions: NDArray[np.int64]
    outputs: Rows
    bad: list[int]


def _column(tensor: OutputTensor, at: int, given: Sequence[_Given], item_count: int) -> Column:
    """Output number `at` of all items."""
    if not tensor.is_open and len(given) == 1 and not given[0].bad:
        array = given[0].outputs.arrays[at]
        if len(array) == item_count:
            return array
    column = blank_column(tensor, item_count)
    for positions, outputs, bad in given:
        array = outputs.arrays[at]
        good = np.ones(len(array), np.bool_)
        good[bad] = False
        if isinstance(column, list):
            for row in np.flatnonzero(good).tolist():
                column[int(positions[row])] = array[row]
        else:
            column[positions[good]] = array[good]
    return column


def blank_column(tensor: OutputTensor, item_count: int) -> Column:
    """What stands for items without a result: NaN, or zeros in dtypes without it."""
    is_float = tensor.numpy_dtype.startswith("float")
    blanks = blank([1 if tensor.is_open else item_count, *tensor.fixed_shape], tensor.numpy_dtype)
    if is_float:
        blanks[...] = np.nan
    return [blanks[0]] * item_count if tensor.is_open else blanks


def _singles(columns: Sequence[Column]) -> Iterator[Rows]:
    """Each item as rows of its own."""
    for at in range(len(columns[0])):
        yield Rows(
            *(
                column[at][np.newaxis] if isinstance(column, list) else column[at : at + 1]
                for column in columns
            )
        )


def _misfit(item: Rows, takes: Sequence[InputTensor]) -> str | None:
    """Why an item is not one that the inputs take, if it is not."""
    for tensor, array in zip(takes, item.arrays, strict=True):
        shape = list(array.shape[1:])
        # The name tells inputs apart.
        what = f"its {tensor.name!r}" if len(takes) > 1 else "it"
        if not tensor.takes(shape):
            return f"{what} has shape {text_of(shape)}, and the model takes {text_of(tensor.shape)}"
        if tensor.is_open and array.size > MAX_OPEN_ITEM_NUMBERS:
            return (
                f"{what} has shape {text_of(shape)}, over {MAX_OPEN_ITEM_NUMBERS} numbers; make it "
                "smaller"
            )
    return None


def _check_outputs(outputs: Rows, gives: Sequence[OutputTensor]) -> None:
    shapes = outputs.shapes
    fit = len(shapes) == len(gives) and all(
        len(shape) == len(tensor.shape)
        and all(want in {None, side} for side, want in zip(shape, tensor.shape, strict=True))
        for shape, tensor in zip(shapes, gives, strict=True)
    )
    if not fit:
        raise PredictionError(
            f"it gives {', '.join(text_of(list(shape)) for shape in shapes)} an item, and its "
            f"manifest says {', '.join(text_of(tensor.shape) for tensor in gives)}; publish it "
            "again"
        )


def filled_rows(rows: Rows, takes: Sequence[InputTensor]) -> Rows:
    """The rows with the inputs' `fill`, where they have one, in place of NaN."""
    return Rows(*(filled(array, t) for array, t in zip(rows.arrays, takes, strict=True)))


def not_finite_rows(rows: Rows, takes: Sequence[InputTensor]) -> dict[int, str]:
    """Number of a row with NaN or infinity that an input does not allow -> the reason it fails."""
    found: dict[int, str] = {}
    for array, tensor in zip(rows.arrays, takes, strict=True):
        where = f" of {tensor.name!r}" if len(takes) > 1 else ""
        if tensor.finite:
            found = {row: f"{why}{where}" for row, why in not_finite(array).items()} | found
    return found


def _non_finite(outputs: Rows, gives: Sequence[OutputTensor]) -> dict[int, str]:
    found: dict[int, str] = {}
    for array, tensor in zip(outputs.arrays, gives, strict=True):
        where = f" in {tensor.name!r}" if len(gives) > 1 else ""
        if tensor.finite:
            found = {row: f"{why}{where}" for row, why in non_finite_rows(array).items()} | found
    return found


def filled(rows: Array, tensor: InputTensor) -> Array:
    """The rows with the input's `fill`, if it has one, in place of NaN."""
    if tensor.fill is None or rows.dtype.kind != "f":
        return rows
    is_nan = np.isnan(rows)
    return np.where(is_nan, rows.dtype.type(tensor.fill), rows) if is_nan.any() else rows


def not_finite(rows: Array) -> dict[int, str]:
    """Number of a row with NaN or infinity -> the reason that it fails."""
    if rows.dtype.kind != "f":
        return {}
    finite = np.isfinite(rows)
    if finite.all():
        return {}
    good = finite.reshape(len(rows), -1).all(axis=1)
    return {int(row): "NaN or infinity among its values" for row in np.flatnonzero(~good)}


def _without_empty(groups: Iterable[ItemGroup]) -> list[ItemGroup]:
    return [group for group in groups if len(group.rows)]


def _in_order(errors: Iterable[ItemError]) -> list[ItemError]:
    return sorted(errors, key=lambda error: error.index)
