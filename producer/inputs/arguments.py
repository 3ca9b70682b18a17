"""What paths and URLs name: one s3:// prefix, or files and folders on this machine."""

import os
from collections.abc import Sequence

from fornada.errors import UsageError
from producer.inputs.interface import LocalFiles, Selection, StoredImages


def inputs_of(
    paths: Sequence[str | os.PathLike[str]], selection: Selection | None = None
) -> LocalFiles | StoredImages:
    """What `paths` name; nothing is looked at yet.

    Args:
        paths: One `s3://bucket/prefix`, or files, folders and globs.
        selection: Which files of folders, archives and prefixes are meant; all by default.

    Raises:
        UsageError: There are none, or an s3:// prefix is among others.
    """
    texts = [os.fspath(path) for path in paths]
    if not texts:
        raise UsageError("no input was given; name files, folders or s3:// URLs")
    selection = selection or Selection()
    if not any(text.startswith("s3://") for text in texts):
        return LocalFiles(paths=texts, selection=selection)
    if len(texts) > 1:
        raise UsageError("give one s3:// prefix alone, or local files; submit the rest separately")
    return StoredImages.parse(texts[0], selection)
