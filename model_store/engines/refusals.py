"""What every engine refuses alike: outputs of the wrong shape, and calls that fail."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fornada.errors import ModelRefusedError, PredictionError, error_line
from fornada.formats.items import Array
from fornada.tensors import text_of


def tile_text(item_dtype: str, tile_items: int | None, item_shape: Sequence[int | None]) -> str:
    """What a predict call takes, for messages: `uint8 [64, 28, 28]`; `null` for what may vary."""
    return f"{item_dtype} {text_of([tile_items, *item_shape])}"


def check_output_shape(shape: Sequence[int | None], *, tile_items: int | None, takes: str) -> None:
    """Check that a model gives one row of numbers per item.

    Args:
        shape: Of its outputs; `None` where a size is not fixed.
        tile_items: Rows of every call; `None` if they vary.
        takes: From `tile_text`, for the message.

    Raises:
        ModelRefusedError: It does not.
    """
    if len(shape) == 2 and shape[0] == tile_items and shape[1] is not None:  # noqa: PLR2004 - rows, outputs
        return
    fact = f"the model gives outputs of shape {text_of(list(shape))} for {takes}"
    if tuple(shape[:1]) == (tile_items,):
        raise ModelRefusedError(
            f"{fact}; outputs of several axes or of varying size are not there yet: end the model "
            "in one row of numbers per item"
        )
    raise ModelRefusedError(f"{fact}; it must give one row of numbers per item")


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise what a framework raises where memory runs out as `MemoryError`.

    The allocators of devices do not recover: the process must end.
    """
    try:
        yield
    except Exception as exc:
        names = {kind.__name__ for kind in type(exc).__mro__}
        if "ResourceExhaustedError" in names or "bad_alloc" in str(exc):
            raise MemoryError(error_line(exc)) from exc
        raise


def prediction_error(tile: Array, exc: Exception) -> PredictionError:
    """The error for a predict call that failed with `exc`."""
    return PredictionError(
        f"predict failed on {tile.dtype} {tile.shape}: {error_line(exc)}; check the worker's "
        "memory and the model's input"
    )
