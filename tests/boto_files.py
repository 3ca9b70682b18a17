"""What botocore reads of its own package for each client, read once in a process."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import botocore.session
import pytest


@contextmanager
def read_once() -> Iterator[None]:
    """A context in which new sessions of botocore share what they read."""
    with pytest.MonkeyPatch.context() as patch:
        load = functools.cache(botocore.session.create_loader)
        patch.setattr(botocore.session, "create_loader", load)
        yield
