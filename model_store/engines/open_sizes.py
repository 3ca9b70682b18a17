"""Items of a network of open sizes: how many go in a call, and which are too small.

Frameworks are not to be relied on: a convolution that has nothing to compute may leave what is in
memory.
"""

import functools
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import PredictionError, error_line
from fornada.formats.items import Array
from fornada.tensors import text_of
from model_store.engines.interface import Predict

#: The most rows, and numbers, of a call of items whose size is open: 16 texts of 128 tokens, one
#: image. Changing them changes bytes.
OPEN_TILE_ITEMS = 64
_OPEN_TILE_NUMBERS = 2048
#: Sizes that are not checked again.
_MAX_KNOWN = 4096


def open_tile_items(item_shape: Sequence[int]) -> int:
    """Rows of a call of items of this shape: a power of two.

    Few of the items have the same size, and a tile is padded.
    """
    fitting = _OPEN_TILE_NUMBERS // max(1, math.prod(item_shape))
    return min(OPEN_TILE_ITEMS, 1 << max(0, fitting.bit_length() - 1))


def with_checked_sizes(predict: Predict, model: Any, *, item_dtype: str) -> Predict:
    """`predict`, which fails with `PredictionError` on sizes that Keras cannot compute."""
    keras: Any = sys.modules["keras"]

    @functools.lru_cache(maxsize=_MAX_KNOWN)
    def fault(shape: tuple[int, ...]) -> str | None:
        try:
            model.compute_output_spec(keras.KerasTensor(shape, dtype=item_dtype))
        except MemoryError:
            raise
        except Exception as exc:  # noqa: BLE001 - layers raise anything on input that does not fit
            return error_line(exc)
        return None

    def checked(tile: Array) -> NDArray[np.float32]:
        why = fault(tile.shape)
        if why is not None:
            raise PredictionError(
                f"the model cannot take items of shape {text_of(list(tile.shape[1:]))}: {why}"
            )
        return predict(tile)

    return checked
