"""The engine `test`: arithmetic in NumPy, for tests of everything but the ML framework."""

import functools
import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fornada.errors import MessageError, ModelRefusedError, PredictionError
from fornada.formats.items import Array
from fornada.formats.rows import Rows
from fornada.records import Record
from fornada.tensors import InputTensor, OutputTensor
from model_store.engines.artifact.work import Work
from model_store.engines.interface import EngineModel, Predict
from model_store.engines.refusals import call_text


class ArithmeticModel(Record):
    """The artifact: JSON from which the weights follow, and how the model misbehaves."""

    output_count: int = Field(ge=1, le=10_000)
    #: Different seeds give different weights.
    seed: int = Field(default=0, ge=0)
    #: What every predict call takes, at least.
    delay_s: float = Field(default=0.0, ge=0)
    #: A call fails if an item in it begins with this number.
    fails_on: int | None = None
    #: Items that begin with this number get NaN.
    nan_on: int | None = None


class ArithmeticEngine:
    """Weighted sums, in element-wise operations alone: the same bytes in any batch, on any CPU."""

    name = "test 1"
    framework = None
    tolerance = 0.0
    calls_ahead = 0
    call_bytes = None

    def __init__(self, *, threads: int) -> None:
        self.streams = threads

    def forget(self) -> None:
        """Nothing: it keeps nothing."""

    def load(
        self,
        artifact: Path,
        *,
        where: str,
        takes: Sequence[InputTensor],
        gives: Sequence[OutputTensor],
        allowed_objects: Collection[str],  # noqa: ARG002 - it has no layers
    ) -> EngineModel:
        """The model, for tiles of any size.

        Raises:
            ModelRefusedError: The artifact is not an `ArithmeticModel`.
        """
        try:
            model = ArithmeticModel.from_json(
                artifact.read_bytes(), where=f"the artifact of {where}"
            )
        except MessageError as exc:
            raise ModelRefusedError(f"{exc}; FORNADA_ENGINE=test runs no other model") from exc
        return arithmetic(model, takes, gives)


def arithmetic(
    model: ArithmeticModel, takes: Sequence[InputTensor], gives: Sequence[OutputTensor]
) -> EngineModel:
    """The model, for items of these inputs; each output has as many numbers as its shape says."""
    weight_count = sum(math.prod(side or 1 for side in t.shape) for t in takes) * model.output_count
    return EngineModel(
        compile=lambda items: _predict(model, takes, gives, items),
        work=Work(
            multiplications=weight_count,
            weight_bytes=4 * weight_count,
            output_bytes=4 * model.output_count,
            operation_count=1,
        ),
    )


def _weights(model: ArithmeticModel, item_size: int, item_dtype: str) -> NDArray[np.float32]:
    """float32 [numbers of an item, outputs]; outputs of pixels, or of 0 to 1, are 0 to 1."""
    largest = item_size * (255 if item_dtype == "uint8" else 1)
    weights = np.random.default_rng(model.seed).random((item_size, model.output_count), np.float32)
    return weights / np.float32(largest)


def _predict(
    model: ArithmeticModel,
    takes: Sequence[InputTensor],
    gives: Sequence[OutputTensor],
    tile_items: int,
) -> Predict:
    weights_of = functools.lru_cache(maxsize=64)(
        lambda item_size, dtype: _weights(model, item_size, dtype)
    )
    is_open = any(tensor.is_open for tensor in takes)

    def predict(tile: Rows) -> Rows:
        fits = all(t.takes(shape) for t, shape in zip(takes, tile.shapes, strict=True))
        if not (fits and (is_open or len(tile) == tile_items)):
            raise PredictionError(
                f"predict takes {tile_items} items of {call_text(takes, None)}, and was given "
                f"{len(tile)} of {tile.shapes}"
            )
        first = _numbers(tile.arrays[0])
        if model.fails_on is not None and (first[:, 0] == model.fails_on).any():
            raise PredictionError(f"an item begins with {model.fails_on}, as the test wanted")
        time.sleep(model.delay_s)
        sums = np.zeros((len(tile), model.output_count), np.float32)
        for array, tensor in zip(tile.arrays, takes, strict=True):
            rows = _numbers(array)
            # A matrix product may round differently with the number of rows.
            for column, weight in zip(rows.T, weights_of(rows.shape[1], tensor.dtype), strict=True):
                sums += column[:, np.newaxis].astype(np.float32) * weight
        if model.nan_on is not None:
            sums[first[:, 0] == model.nan_on] = np.nan
        if len(gives) == 1 and gives[0].width != model.output_count:
            # Another number than its manifest says, which callers have to notice.
            return Rows(sums)
        return Rows(*(_output(sums, tensor) for tensor in gives))

    return predict


def _numbers(array: Array) -> Array:
    """The numbers of each item as one row; of a text, its length."""
    if array.dtype.hasobject:
        lengths = [len(text) for text in array.ravel().tolist()]
        return np.array(lengths, np.float32).reshape(len(array), -1)
    return array.reshape(len(array), -1)


def _output(sums: NDArray[np.float32], tensor: OutputTensor) -> Array:
    """As many of the sums as the output has numbers, over and over."""
    numbers = np.resize(sums.T, (tensor.width, len(sums))).T
    with np.errstate(invalid="ignore"):
        cast = np.ascontiguousarray(numbers.astype(tensor.numpy_dtype))
    return cast.reshape(len(sums), *tensor.fixed_shape)
