"""The items of a shard or call, grouped by shape, and their outputs in its order."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fornada.errors import PredictionError
from fornada.formats.items import Array, non_finite_rows
from fornada.records import ItemError
from fornada.tensors import InputTensor, OutputTensor, text_of

#: Most numbers of an item whose shape is open: an RGB photograph of 22 megapixels.
MAX_OPEN_ITEM_NUMBERS = 2**26

#: Longer reasons are cut.
MAX_REASON_CHARACTERS = 500


class Predicted(NamedTuple):
    """Outputs of rows: float32 [rows, outputs], NaN where the row failed."""

    outputs: NDArray[np.float32]
    #: Number of a row that failed -> why.
    errors: dict[int, str]

    def parts(self, row_counts: Sequence[int]) -> list["Predicted"]:
        """The rows of each caller, of those predicted together."""
        parts, first = [], 0
        for count in row_counts:
            rows = range(first, first + count)
            errors = {row - first: why for row, why in self.errors.items() if row in rows}
            parts.append(Predicted(self.outputs[first : rows.stop], errors))
            first = rows.stop
        return parts


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemGroup:
    """Items of one shape.

    rows: item dtype [items of the group, *their shape]; `positions` are those in the shard.
    """

    rows: Array
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
    def of_array(cls, array: Array, *, tensor: InputTensor) -> Self:
        """The items of `array`: item dtype [items, *their shape], which fits `tensor`."""
        if tensor.is_open and len(array) and (why := _misfit(array[0], tensor)) is not None:
            return cls(
                groups=[], errors=[ItemError(index=n, reason=why) for n in range(len(array))]
            )
        return cls._checked([ItemGroup(rows=array, positions=np.arange(len(array)))], [], tensor)

    @classmethod
    def of_singles(cls, singles: Iterable[tuple[int, Array | str]], *, tensor: InputTensor) -> Self:
        """Items that were read one by one.

        Args:
            singles: Each position in the shard, and the item in the item dtype or why it cannot
                be read.
            tensor: The input that they are for.
        """
        by_shape: dict[tuple[int, ...], list[tuple[int, Array]]] = {}
        errors = []
        for position, item in singles:
            why = item if isinstance(item, str) else _misfit(item, tensor)
            if why is not None:
                errors.append(ItemError(index=position, reason=why[:MAX_REASON_CHARACTERS]))
            elif not isinstance(item, str):
                by_shape.setdefault(item.shape, []).append((position, item))
        groups = [
            ItemGroup(
                rows=np.stack([item for _, item in alike]),
                positions=np.array([position for position, _ in alike], np.int64),
            )
            for alike in by_shape.values()
        ]
        return cls._checked(groups, errors, tensor)

    @classmethod
    def _checked(
        cls, groups: list[ItemGroup], errors: list[ItemError], tensor: InputTensor
    ) -> Self:
        """The groups without items whose values the input does not allow, which become errors."""
        kept = []
        for group in groups:
            whole = ItemGroup(rows=filled(group.rows, tensor), positions=group.positions)
            bad = not_finite(whole.rows) if tensor.finite else {}
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

    def predicted(self, predict: Callable[[Array], Predicted]) -> list[Predicted]:
        """What `predict` gives for each group."""
        return [predict(group.rows) for group in self.groups]

    def placed(
        self, predicted: Sequence[Predicted], *, output: OutputTensor, item_count: int
    ) -> tuple[NDArray[np.float32], list[ItemError]]:
        """The outputs in the shard's order, and all of its failed items, whose rows are NaN.

        Args:
            predicted: What the model gave for each group.
            output: The model's output, as the job has it.
            item_count: Items of the shard.

        Returns:
            float32 [items, numbers of an item], and the errors in the shard's order.

        Raises:
            PredictionError: The model gives another number of outputs.
        """
        errors = list(self.errors)
        placed = np.full((item_count, output.width), np.nan, np.float32)
        for group, (outputs, failed) in zip(self.groups, predicted, strict=True):
            if outputs.shape[1] != output.width:
                raise PredictionError(
                    f"it gives {outputs.shape[1]} numbers an item, and its manifest says "
                    f"{output.width}; publish it again"
                )
            bad = {**non_finite_rows(outputs), **failed} if output.finite else failed
            if len(group.rows) == item_count and not bad:
                return outputs, errors
            placed[group.positions] = outputs
            placed[group.positions[list(bad)]] = np.nan
            errors += [
                ItemError(index=int(group.positions[row]), reason=why) for row, why in bad.items()
            ]
        return placed, _in_order(errors)


def _misfit(item: Array, tensor: InputTensor) -> str | None:
    """Why an item is not one that the input takes, if it is not."""
    shape = list(item.shape)
    if not tensor.takes(shape):
        return f"it has shape {text_of(shape)}, and the model takes {text_of(tensor.shape)}"
    if tensor.is_open and item.size > MAX_OPEN_ITEM_NUMBERS:
        return (
            f"it has shape {text_of(shape)}, over {MAX_OPEN_ITEM_NUMBERS} numbers; make it smaller"
        )
    return None


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
    finite = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    return {int(row): "NaN or infinity among its values" for row in np.flatnonzero(~finite)}


def _without_empty(groups: Iterable[ItemGroup]) -> list[ItemGroup]:
    return [group for group in groups if len(group.rows)]


def _in_order(errors: Iterable[ItemError]) -> list[ItemError]:
    return sorted(errors, key=lambda error: error.index)
