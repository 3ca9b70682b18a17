"""One object that holds items, as blocks of the dtype and shape that a model takes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from fornada.errors import InputError
from fornada.formats.fitting import fit_items
from fornada.formats.items import Array, check_shape, fitted_shape
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, takes
from producer.inputs.data.conversion import (
    as_array,
    in_cells,
    is_array_like,
    is_numbers,
    is_stored,
    is_texts,
    rows_of,
    stored_shape,
    type_name,
    unfolded,
)
from producer.inputs.data.frame_columns import shaped
from producer.inputs.data.frames import frame_arrays, frame_of, is_frame
from producer.inputs.data.ragged import ragged_blocks
from producer.inputs.interface import ItemBlock

#: An array may claim far more than it holds, as `numpy.broadcast_to` does, so that no copy of it
#: fits into memory.
_BLOCK_BYTES = 16 * 1024 * 1024
#: Bytes of a number in the largest dtype: what comes in may be wider than what a model takes.
_NUMBER_BYTES = 8
_NO_ERRORS: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayReader:
    """Reads arrays, tensors, buffers, nested lists of numbers or texts, and data frames."""

    taken: InputTensor
    #: For error messages.
    model: str

    @property
    def takes_text(self) -> bool:
        """Whether items are texts."""
        return self.taken.dtype == "string"

    @property
    def takes_text_alone(self) -> bool:
        """Whether a text is an item."""
        return self.takes_text and self.is_one_item(())

    def reads(self, value: object) -> bool:
        """Whether `value` is such an object, rather than an iterable of several."""
        if is_array_like(value) or is_numbers(value) or is_frame(value):
            return True
        return self.takes_text and is_texts(value)

    def blocks(
        self, value: object, *, columns: Sequence[str] | None = None, where: str
    ) -> Iterator[ItemBlock]:
        """The items of `value`: one, if it has exactly an item's shape, else as many as rows.

        Args:
            value: Such an object.
            columns: Of a data frame, those that are meant.
            where: For error messages.

        Raises:
            InputError: It does not fit the model.
        """
        of_frame = is_frame(value)
        for start, array, errors in self._arrays(value, columns, where=where):
            self._check_no_text(value, array, where=where)
            if array.dtype.hasobject and array.ndim == 0 and not is_texts(array.item()):
                raise InputError(f"{where} is {type_name(value)}; give an array of items")
            whole: Array | None = array
            if array.dtype.hasobject:
                whole = unfolded(array, of_text=self.takes_text)
            if whole is None:
                yield from ragged_blocks(
                    array, self.taken, model=self.model, first=start, where=where
                )
                continue
            if of_frame:
                whole = shaped(whole, self.taken)
            self._check_item(whole.shape, where=where)
            is_one = self.is_one_item(whole.shape)
            if is_one and errors:
                raise InputError(f"{where}: {next(iter(errors.values()))}; round it, or drop it")
            items = whole[np.newaxis] if is_one else whole
            yield from self._cut(items, start, where=where, errors=errors)

    def is_missing(self, value: Any) -> bool:
        """Whether a part of a stream is an item that is null, or a sequence without elements."""
        if value is None:
            return True
        if self.taken.shape != [None]:
            return False
        is_empty = isinstance(value, list | tuple) and not value
        return is_empty or (is_array_like(value) and tuple(getattr(value, "shape", ())) == (0,))

    def missing(self, value: object, *, where: str) -> Iterator[ItemBlock]:
        """Such an item, which fails, unless null becomes the input's `fill`."""
        if value is not None:
            cells = in_cells([[]])
            yield from ragged_blocks(cells, self.taken, model=self.model, first=0, where=where)
            return
        nulls = np.full([1, *(side or 1 for side in self.taken.shape)], None)
        yield from self._cut(nulls, 0, where=where)

    def _arrays(
        self, value: Any, columns: Sequence[str] | None, *, where: str
    ) -> Iterator[tuple[int, Array, Mapping[int, str]]]:
        frame = frame_of(value, where=where)
        if frame is not None:
            yield from frame_arrays(
                frame, self.taken, columns=columns, model=self.model, where=where
            )
        elif is_stored(value):
            for first, rows in self._stored_rows(value, where=where):
                yield first, rows, {}
        elif self.reads(value):
            yield 0, as_array(value, of_text=self.takes_text, where=where), {}
        elif isinstance(value, str):
            raise self._is_text(type_name(value), where=where)
        else:
            raise InputError(f"{where} is {type_name(value)}; give an array of items")

    def _check_no_text(self, value: object, array: Array, *, where: str) -> None:
        """Refuse texts where a model takes none: most are paths."""
        if self.takes_text or array.ndim != 1 or array.dtype.kind not in "OTU":
            return
        # NumPy makes texts of a list that has only some.
        parts = value if isinstance(value, list | tuple) else array
        if isinstance(next((part for part in parts if part is not None), None), str):
            raise self._is_text(f"{type_name(value)} of str", where=where)

    def _is_text(self, what: str, *, where: str) -> InputError:
        taken = f"{'' if self.taken.image is None else 'images, '}{self.taken}"
        return InputError(
            f"{where} is {what}, and {self.model} takes {taken}; for a file give pathlib.Path, "
            "else an array of items"
        )

    def _stored_rows(self, value: Any, *, where: str) -> Iterator[tuple[int, Array]]:
        shape = stored_shape(value, where=where)
        if len(shape) <= len(self.taken.shape):
            yield 0, as_array(value, where=where)
            return
        self._check_shape(shape, where=where)
        step = _rows_of_a_block(shape)
        for first in range(0, shape[0], step):
            yield first, rows_of(value, first, step, where=where)

    def _check_shape(self, shape: tuple[int, ...], *, where: str) -> None:
        check_shape(shape, self.taken.shape, model=self.model, where=where)

    def _check_item(self, shape: tuple[int, ...], *, where: str) -> None:
        """Refuse an array with the axes of one item and another shape."""
        want = tuple(self.taken.shape)
        fits = fitted_shape(shape, want) or fitted_shape(shape[1:], want)
        if shape and len(shape) == len(want) and 0 not in shape and fits is None:
            raise InputError(
                f"{where}: an item of shape {shape}, but {self.model} takes {want}; resize "
                "images, pad or cut sequences before you submit"
            )

    def is_one_item(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape is one item without the leading axis.

        A last axis of 1 may be missing or superfluous; a shape that fits as it is goes first.
        """
        want = self.taken.shape
        if not shape:
            return fitted_shape(shape, want) is not None
        if takes(shape, want) or takes(shape[1:], want):
            return takes(shape, want)
        return fitted_shape(shape, want) is not None and fitted_shape(shape[1:], want) is None

    def _cut(
        self, items: Array, first: int, *, where: str, errors: Mapping[int, str] = _NO_ERRORS
    ) -> Iterator[ItemBlock]:
        self._check_shape(items.shape, where=where)
        step = _rows_of_a_block(items.shape)
        for start in range(0, len(items), step):
            at = first + start
            here = f"{where}[{at}:]" if at else where
            rows, bad = fit_items(
                items[start : start + step],
                self.taken,
                model=self.model,
                where=here,
            )
            known = {n - start: why for n, why in errors.items() if 0 <= n - start < len(rows)}
            yield ItemBlock(rows=Rows(rows), item_ids=None, where=here, errors={**known, **bad})


def _rows_of_a_block(shape: tuple[int, ...]) -> int:
    return max(1, _BLOCK_BYTES // max(1, math.prod(shape[1:]) * _NUMBER_BYTES))
