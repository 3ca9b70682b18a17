"""Refuse items too small for a network of open sizes.

Frameworks are not to be relied on: a convolution that has nothing to compute may leave what is in
memory.
"""

import functools
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import PredictionError, error_line
from fornada.formats.items import Array
from fornada.tensors import text_of
from model_store.engines.interface import Predict

#: Sizes that are not checked again.
_MAX_KNOWN = 4096


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
