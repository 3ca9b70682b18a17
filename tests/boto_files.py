"""What botocore reads of its own package for each client, read once in a process."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader, Loader


@functools.cache
def _content(path: str) -> Any:
    return JSONFileLoader().load_file(path)


class _ReadOnce(JSONFileLoader):  # type: ignore[misc] - botocore has no types
    """Gives every client the same content, which none changes."""

    def load_file(self, file_path: str) -> Any:
        return _content(file_path)


@contextmanager
def read_once() -> Iterator[None]:
    """A context in which new sessions of botocore share what they read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "FILE_LOADER_CLASS", _ReadOnce)
        yield
