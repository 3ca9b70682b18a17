"""Items of a network of open sizes: how many go in a call, and which are too small.

Frameworks are not to be relied on: a convolution that has nothing to compute may leave what is in
memory.
"""

import functools
import math
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fornada.errors import PredictionError, error_line
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, text_of
from model_store.engines.interface import Predict
from model_store.engines.keras_setup import packed_inputs

T = TypeVar("T")

#: The most rows, and numbers, of a call of items whose size is open: 16 texts of 128 tokens, one
#: image. Changing them changes bytes.
OPEN_TILE_ITEMS = 64
_OPEN_TILE_NUMBERS = 2048
#: Sizes that are not checked again.
_MAX_KNOWN = 4096


def open_tile_items(item_shapes: Sequence[Sequence[int]]) -> int:
    """Rows of a call of items whose inputs have these shapes: a power of two.

    Few of the items have the same size, and a tile is padded.
    """
    fitting = _OPEN_TILE_NUMBERS // max(1, sum(map(math.prod, item_shapes)))
    return min(OPEN_TILE_ITEMS, 1 << max(0, fitting.bit_length() - 1))


def found_once(find: Callable[..., T], *, most: int) -> Callable[..., T]:
    """`find`, whose results are kept; of threads that ask for the same, one finds it.

    A size that is new comes to all streams at once.

    Args:
        find: Takes positional arguments alone.
        most: Results that are kept.
    """
    found = functools.lru_cache(maxsize=most)(find)
    lock_of = functools.lru_cache(maxsize=most)(lambda *_args: threading.Lock())

    def known(*args: Any) -> T:
        with lock_of(*args):
            return found(*args)

    return known


def with_checked_sizes(predict: Predict, model: Any, *, takes: Sequence[InputTensor]) -> Predict:
    """`predict`, which fails with `PredictionError` on sizes that Keras cannot compute."""
    keras: Any = sys.modules["keras"]

    def fault(shapes: tuple[tuple[int, ...], ...], rows: int) -> str | None:
        tensors = [
            keras.KerasTensor((rows, *shape), dtype=tensor.dtype)
            for shape, tensor in zip(shapes, takes, strict=True)
        ]
        try:
            model.compute_output_spec(packed_inputs(model, tensors))
        except MemoryError:
            raise
        except Exception as exc:  # noqa: BLE001 - layers raise anything on input that does not fit
            return error_line(exc)
        return None

    known_fault = found_once(fault, most=_MAX_KNOWN)

    def checked(tile: Rows) -> Rows:
        why = known_fault(tile.shapes, len(tile))
        if why is not None:
            shapes = ", ".join(text_of(list(shape)) for shape in tile.shapes)
            raise PredictionError(f"the model cannot take items of shape {shapes}: {why}")
        return predict(tile)

    return checked
