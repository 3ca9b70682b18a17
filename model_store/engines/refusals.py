"""What every engine refuses alike: outputs of the wrong shape, and calls that fail."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import DTypeLike

from fornada.errors import ModelRefusedError, PredictionError, error_line
from fornada.formats.items import Array
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, OutputTensor, text_of

#: The shape of an array of rows; `None` where a side is not fixed.
Sides = Sequence[int | None]


def call_text(takes: Sequence[InputTensor], tile_items: int | None) -> str:
    """What a predict call takes, for messages: `uint8 [64, 28, 28]`; `null` for what may vary."""
    each = [f"{tensor.dtype} {text_of([tile_items, *tensor.shape])}" for tensor in takes]
    if len(takes) == 1:
        return each[0]
    return ", ".join(f"{t.name} {text}" for t, text in zip(takes, each, strict=True))


def check_output_shapes(shapes: Sequence[Sides], *, tile_items: int | None, takes: str) -> None:
    """Check that each output has a row per item.

    Args:
        shapes: Of its outputs.
        tile_items: Rows of every call; `None` if they vary.
        takes: From `call_text`, for the message.

    Raises:
        ModelRefusedError: One has not.
    """
    for shape in shapes:
        if not shape or shape[0] != tile_items:
            raise ModelRefusedError(
                f"the model gives outputs of shape {text_of(list(shape))} for {takes}; each output "
                "must keep the axis of the items"
            )


def check_outputs_said(
    shapes: Sequence[Sides], gives: Sequence[OutputTensor], *, takes: str
) -> None:
    """Check that outputs, with the axis of the items, are those that the manifest says.

    Raises:
        ModelRefusedError: They are not.
    """
    fits = len(shapes) == len(gives) and all(
        len(shape) == len(tensor.shape) + 1
        and all(
            None in {have, want} or have == want
            for have, want in zip(shape[1:], tensor.shape, strict=True)
        )
        for shape, tensor in zip(shapes, gives, strict=True)
    )
    if not fits:
        said = ", ".join(text_of([None, *tensor.shape]) for tensor in gives)
        found = ", ".join(text_of(list(shape)) for shape in shapes)
        raise ModelRefusedError(
            f"the model gives outputs of shape {found} for {takes}, and its manifest says {said}; "
            "publish it again"
        )


def check_width(array: Array, dtype: DTypeLike) -> None:
    """Check that integers fit into those in which an engine computes.

    Raises:
        ValueError: They do not.
    """
    limits = np.iinfo(np.dtype(dtype))
    low, high = int(array.min()), int(array.max())
    if low < limits.min or high > limits.max:
        raise ValueError(f"values from {low} to {high} are over {limits.bits} bits")


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise what a framework raises where memory runs out as `MemoryError`.

    The allocators of devices do not recover: the process must end.
    """
    try:
        yield
    except Exception as exc:
        names = {kind.__name__ for kind in type(exc).__mro__}
        is_out = any(told in str(exc) for told in ("bad_alloc", "RESOURCE_EXHAUSTED"))
        if is_out or "ResourceExhaustedError" in names:
            raise MemoryError(error_line(exc)) from exc
        raise


def prediction_error(tile: Rows, exc: Exception) -> PredictionError:
    """The error for a predict call that failed with `exc`."""
    given = ", ".join(f"{array.dtype} {array.shape}" for array in tile.arrays)
    return PredictionError(
        f"predict failed on {given}: {error_line(exc)}; check the worker's memory and the model's "
        "input"
    )
