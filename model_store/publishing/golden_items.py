"""Golden batches: of given items or, without any, of generated ones."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError, ModelRefusedError
from fornada.formats.items import Array, check_items
from fornada.tensors import InputTensor
from model_store.publishing.checked import golden_outputs, made_up_count
from model_store.signature import token_count

#: A golden batch is predicted at every load, and more items would show no more.
MAX_GOLDEN_ITEMS = 1024
#: Sides to try where they are open: images first, which networks halve up to seven times.
_IMAGE_SIDES = (64, 128, 224, 256, 299, 384, 512)
_LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 8, 4, 2, 1)


def as_items(array: Array, taken: InputTensor, *, where: str, argument: str) -> Array:
    """`array` as items that the model takes: item dtype [items, …].

    Raises:
        InputError: Its shape, dtype or an integer does not fit.
    """
    items = check_items(
        array, item_shape=taken.shape, item_dtype=taken.dtype, model=where, where=argument
    )
    if taken.fill is None or items.dtype.kind != "f":
        return items
    return np.where(np.isnan(items), items.dtype.type(taken.fill), items)


def check_golden_count(items: Array, *, argument: str) -> Array:
    """`items`, if a golden batch may have that many.

    Raises:
        InputError: It may not.
    """
    if not 0 < len(items) <= MAX_GOLDEN_ITEMS:
        raise InputError(f"{argument} has {len(items)} items; give 1 to {MAX_GOLDEN_ITEMS}")
    return items


def made_up_golden(
    model: Any, taken: InputTensor, *, where: str, allow_nan: bool
) -> tuple[Array, NDArray[np.float32]]:
    """Generated items, and the outputs that the model gives for them.

    Raises:
        ModelRefusedError: The model takes none of the sizes tried, or gives NaN or infinity.
    """
    refusals: list[ModelRefusedError] = []
    for shape in _shapes(taken):
        count = made_up_count(model, shape, taken.dtype)
        items = _made_up(taken, (count, *shape), token_count(model))
        try:
            return items, golden_outputs(model, items, where=where, allow_nan=allow_nan)
        except ModelRefusedError as exc:
            refusals.append(exc)
    raise refusals[0]


def _shapes(taken: InputTensor) -> Iterator[tuple[int, ...]]:
    """Shapes that items may have, the likeliest first."""
    if not taken.is_open:
        yield taken.fixed_shape
        return
    for side in _LENGTHS if taken.image is None else _IMAGE_SIDES:
        yield tuple(side if own is None else own for own in taken.shape)


def _made_up(taken: InputTensor, size: tuple[int, ...], vocabulary: int | None) -> Array:
    rng = np.random.default_rng(0)
    dtype = np.dtype(taken.numpy_dtype)
    if dtype.kind == "f":
        items = rng.random(size, np.float32)
        if taken.image is not None:
            # Models of images scale pixels themselves, or take them scaled.
            items[::2] = np.floor(items[::2] * 256)
        return items.astype(dtype)
    # Integers other than pixels number a vocabulary, or classes of which there may be two.
    end = vocabulary or (256 if taken.image is not None or dtype == np.uint8 else 2)
    largest = 1 if dtype.kind == "b" else int(np.iinfo(dtype.name).max)
    return rng.integers(0, min(end, largest + 1), size).astype(dtype)
