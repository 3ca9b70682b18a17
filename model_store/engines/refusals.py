"""What every engine refuses alike: outputs of the wrong shape, and calls that fail."""

from collections.abc import Sequence

from fornada.errors import ModelRefusedError, PredictionError, error_line
from fornada.formats.items import Array


def tile_text(item_dtype: str, tile_items: int, item_shape: Sequence[int]) -> str:
    """What a predict call takes, for messages: `uint8 [64, 28, 28]`."""
    return f"{item_dtype} [{tile_items}, {', '.join(map(str, item_shape))}]"


def check_output_shape(shape: Sequence[int | None], *, tile_items: int, takes: str) -> None:
    """Check that a model gives one row of numbers per item.

    Args:
        shape: Of its outputs; `None` where a size is not fixed.
        tile_items: Rows of every call.
        takes: From `tile_text`, for the message.

    Raises:
        ModelRefusedError: It does not.
    """
    if len(shape) != 2 or shape[0] != tile_items or shape[1] is None:  # noqa: PLR2004 - rows, outputs
        raise ModelRefusedError(
            f"the model gives outputs of shape {tuple(shape)} for {takes}; it must give one row of "
            "numbers per item"
        )


def prediction_error(tile: Array, exc: Exception) -> PredictionError:
    """The error for a predict call that failed with `exc`."""
    return PredictionError(
        f"predict failed on {tile.dtype} {tile.shape}: {error_line(exc)}; check the worker's "
        "memory and the model's input"
    )
