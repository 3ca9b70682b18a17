"""Options of `fornada train` that say how custom data is read."""

import re
from collections.abc import Sequence

from fornada.errors import UsageError
from trainer.data.dataset import TargetKind
from trainer.data.folder import Fit, FolderOptions
from trainer.data.table import TableOptions

_SIZE = re.compile(r"(?P<height>[1-9][0-9]{0,4})x(?P<width>[1-9][0-9]{0,4})")


def folder_options(
    *, image_size: str | None, resize: Fit | None, strict: bool
) -> FolderOptions | None:
    """How images in a folder become items; `None` by default.

    Raises:
        UsageError: The size is not written HEIGHTxWIDTH.
    """
    if image_size is None and resize is None and not strict:
        return None
    match = _SIZE.fullmatch(image_size) if image_size is not None else None
    if image_size is not None and match is None:
        raise UsageError(
            f"--image-size {image_size} is not HEIGHTxWIDTH; write e.g. --image-size 224x224"
        )
    size = (int(match["height"]), int(match["width"])) if match is not None else None
    return FolderOptions(size=size, resize=resize or "stretch", strict=strict)


def table_options(
    *, target: str | None, drop: Sequence[str], kind: TargetKind | None
) -> TableOptions | None:
    """What is learned from a table; `None` of other data.

    Raises:
        UsageError: There is no target.
    """
    if target is not None:
        return TableOptions(target=target, drop=drop, kind=kind)
    if drop or kind is not None:
        raise UsageError("--drop and --kind are for a table; name its --target too")
    return None
