"""One object that holds items, as blocks of the dtype and shape that a model takes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fornada.errors import InputError
from fornada.formats.fitting import fit_items
from fornada.formats.items import Array, check_shape, fitted_shape
from fornada.tensors import takes
from producer.inputs.data.conversion import (
    as_array,
    is_array_like,
    is_numbers,
    is_stored,
    rows_of,
    stored_shape,
    type_name,
    unfolded,
)
from producer.inputs.data.frames import frame_arrays, frame_of, is_frame
from producer.inputs.interface import ItemBlock, Signature

#: An array may claim far more than it holds, as `numpy.broadcast_to` does, so that no copy of it
#: fits into memory.
_BLOCK_BYTES = 16 * 1024 * 1024
#: Bytes of a number in the largest dtype: what comes in may be wider than what a model takes.
_NUMBER_BYTES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayReader:
    """Reads arrays, tensors, buffers, nested lists of numbers and data frames."""

    signature: Signature

    def reads(self, value: object) -> bool:
        """Whether `value` is such an object, rather than an iterable of several."""
        return is_array_like(value) or is_numbers(value) or is_frame(value)

    def blocks(self, value: object, *, where: str) -> Iterator[ItemBlock]:
        """The items of `value`: one, if it has exactly an item's shape, else as many as rows.

        Raises:
            InputError: It does not fit the model.
        """
        for start, array in self._arrays(value, where=where):
            if array.dtype.hasobject and array.ndim == 0:
                raise InputError(f"{where} is {type_name(value)}; give an array of items")
            whole = unfolded(array) if array.dtype.hasobject else array
            if whole is None:
                # Items that differ in shape, which the model may take.
                for number, cell in enumerate(array.flat, start):
                    yield from self.blocks(cell, where=f"{where}[{number}]")
                continue
            self._check_item(whole.shape, where=where)
            items = whole[np.newaxis] if self.is_one_item(whole.shape) else whole
            yield from self._cut(items, start, where=where)

    def _arrays(self, value: Any, *, where: str) -> Iterator[tuple[int, Array]]:
        frame = frame_of(value, where=where)
        if frame is not None:
            signature = self.signature
            yield from frame_arrays(frame, signature.input, model=signature.model, where=where)
        elif is_stored(value):
            yield from self._stored_rows(value, where=where)
        elif self.reads(value):
            yield 0, as_array(value, where=where)
        else:
            hint = "; for a file give pathlib.Path" if isinstance(value, str) else ""
            raise InputError(f"{where} is {type_name(value)}{hint}; give an array of items")

    def _stored_rows(self, value: Any, *, where: str) -> Iterator[tuple[int, Array]]:
        shape = stored_shape(value, where=where)
        if len(shape) <= len(self.signature.input.shape):
            yield 0, as_array(value, where=where)
            return
        self._check_shape(shape, where=where)
        step = _rows_of_a_block(shape)
        for first in range(0, shape[0], step):
            yield first, rows_of(value, first, step, where=where)

    def _check_shape(self, shape: tuple[int, ...], *, where: str) -> None:
        signature = self.signature
        check_shape(shape, signature.input.shape, model=signature.model, where=where)

    def _check_item(self, shape: tuple[int, ...], *, where: str) -> None:
        """Refuse an array with the axes of one item and another shape."""
        signature = self.signature
        want = tuple(signature.input.shape)
        fits = fitted_shape(shape, want) or fitted_shape(shape[1:], want)
        if shape and len(shape) == len(want) and 0 not in shape and fits is None:
            raise InputError(
                f"{where}: an item of shape {shape}, but {signature.model} takes {want}; resize "
                "images, pad or cut sequences before you submit"
            )

    def is_one_item(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape is one item without the leading axis.

        A last axis of 1 may be missing or superfluous; a shape that fits as it is goes first.
        """
        want = self.signature.input.shape
        if not shape:
            return fitted_shape(shape, want) is not None
        if takes(shape, want) or takes(shape[1:], want):
            return takes(shape, want)
        return fitted_shape(shape, want) is not None and fitted_shape(shape[1:], want) is None

    def _cut(self, items: Array, first: int, *, where: str) -> Iterator[ItemBlock]:
        self._check_shape(items.shape, where=where)
        step = _rows_of_a_block(items.shape)
        for start in range(0, len(items), step):
            at = first + start
            here = f"{where}[{at}:]" if at else where
            rows, errors = fit_items(
                items[start : start + step],
                self.signature.input,
                model=self.signature.model,
                where=here,
            )
            yield ItemBlock(images=rows, item_ids=None, where=here, errors=errors)


def _rows_of_a_block(shape: tuple[int, ...]) -> int:
    return max(1, _BLOCK_BYTES // max(1, math.prod(shape[1:]) * _NUMBER_BYTES))
