"""Items that differ in shape: fitted together, not one by one."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from fornada.errors import InputError
from fornada.formats.fitting import fit_items
from fornada.formats.items import Array, fitted_shape
from fornada.formats.nesting import holds_texts
from fornada.formats.rows import Rows, blank
from fornada.tensors import InputTensor, text_of
from producer.inputs.interface import ItemBlock

#: Numbers that are fitted together.
_NUMBERS_AT_A_TIME = 2**21


def ragged_blocks(
    cells: Array, taken: InputTensor, *, model: str, first: int, where: str
) -> Iterator[ItemBlock]:
    """The items in `cells`, which have any lengths; an empty item or a null fails alone.

    Args:
        cells: Objects [items], each an array, a sequence of numbers or texts, or None.
        taken: The input.
        model: For error messages.
        first: Number of the first item.
        where: For error messages.

    Raises:
        InputError: A cell is no array, or its shape or dtype does not fit.
    """
    held: list[Array | str] = []
    number_count = 0
    for number, cell in enumerate(cells.flat, first):
        item = _item(cell, taken, model=model, where=f"{where}[{number}]")
        held.append(item)
        number_count += 0 if isinstance(item, str) else item.size
        if number_count >= _NUMBERS_AT_A_TIME:
            yield from _fitted(held, taken, model=model, end=number + 1, where=where)
            held, number_count = [], 0
    yield from _fitted(held, taken, model=model, end=first + cells.size, where=where)


def _item(cell: Any, taken: InputTensor, *, model: str, where: str) -> Array | str:
    """The array of one item, or why it is none."""
    if cell is None:
        return "null in its place"
    try:
        is_texts = isinstance(cell, list | tuple) and holds_texts(cell)
        array = np.asarray(cell, object if is_texts else None)
    except ValueError as exc:
        raise InputError(
            f"{where} holds parts that differ in shape, and {model} takes {text_of(taken.shape)}"
        ) from exc
    if array.size == 0 and array.ndim <= max(1, len(taken.shape)):
        return f"it is empty, and the model takes {text_of(taken.shape)}"
    shape = fitted_shape(array.shape, taken.shape)
    if shape is None:
        raise InputError(
            f"{where}: an item of shape {array.shape}, but {model} takes {tuple(taken.shape)}; "
            "resize images, pad or cut sequences before you submit"
        )
    return array.reshape(shape)


def _fitted(
    items: Sequence[Array | str], taken: InputTensor, *, model: str, end: int, where: str
) -> Iterator[ItemBlock]:
    """Blocks of consecutive items of one shape, fitted together."""
    start = end - len(items)
    arrays = [item for item in items if not isinstance(item, str)]
    flat, errors = _fit_flat(arrays, taken, model=model, start=start, where=where)
    stand_in = blank([side or 1 for side in taken.shape], taken.numpy_dtype)
    fitted: list[tuple[Array, str | None]] = []
    at = number = 0
    for item in items:
        if isinstance(item, str):
            fitted.append((stand_in, item))
            continue
        fitted.append((flat[at : at + item.size].reshape(item.shape), errors.get(number)))
        at, number = at + item.size, number + 1
    for _, run in groupby(fitted, key=lambda each: each[0].shape):
        alike = list(run)
        yield ItemBlock(
            rows=Rows(np.stack([array for array, _ in alike])),
            item_ids=None,
            where=f"{where}[{start}:]",
            errors={n: why for n, (_, why) in enumerate(alike) if why is not None},
        )
        start += len(alike)


def _fit_flat(
    arrays: Sequence[Array], taken: InputTensor, *, model: str, start: int, where: str
) -> tuple[Array, dict[int, str]]:
    """The numbers of all arrays in a row, and number of an array that is no item -> why."""
    if not arrays:
        return blank([0], taken.numpy_dtype), {}
    one = taken.model_copy(update={"shape": []})
    try:
        flat, found = fit_items(
            np.concatenate([array.reshape(-1) for array in arrays]), one, model=model, where=where
        )
    except InputError:
        # One by one, to say which.
        for number, array in enumerate(arrays, start):
            fit_items(array[np.newaxis], taken, model=model, where=f"{where}[{number}]")
        raise
    ends = np.cumsum([array.size for array in arrays])
    return flat, {int(np.searchsorted(ends, at, "right")): why for at, why in found.items()}
