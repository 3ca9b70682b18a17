"""What the INPUT arguments of commands name: one s3:// prefix, or local paths."""

from collections.abc import Sequence

from fornada.errors import UsageError
from producer.inputs.interface import Inputs, StoredImages
from producer.inputs.paths import read_blocks

_BLOCK_BYTES = 16 * 1024 * 1024


def images_from(arguments: Sequence[str], *, item_shape: Sequence[int]) -> Inputs:
    """The images that `arguments` name.

    Raises:
        UsageError: An s3:// prefix is among others.
        InputError, LocalDiskError: As `read_blocks`.
    """
    if not any(argument.startswith("s3://") for argument in arguments):
        return read_blocks(arguments, item_shape=item_shape, max_block_bytes=_BLOCK_BYTES)
    if len(arguments) > 1:
        raise UsageError("give one s3:// prefix alone, or local files; submit the rest separately")
    return StoredImages.parse(arguments[0])
