"""What keeps a store that is a file system, such as rclone's, from writing a key."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from botocore.exceptions import ClientError

from fornada.errors import ObjectNotFoundError, StoreError
from fornada.storage.interface import StoredObject
from fornada.storage.s3 import errors


class _Store(Protocol):
    endpoint: str

    def get(self, key: str, *, max_bytes: int | None = None) -> StoredObject: ...


@contextmanager
def obstacles_named(store: _Store, key: str) -> Iterator[None]:
    """Say what is in the way of a put of `key` that fails inside the store.

    Consoles make an empty object `a/b/` for a folder. On such a store it is the file `a/b`, and no
    file can be below it: every try would fail.

    Raises:
        StoreRefusedError: Another object is in the way.
    """
    try:
        yield
    except ClientError as exc:
        obstacle = _obstacle_to(store, key) if errors.says_it_failed(exc) else None
        if obstacle is None:
            raise
        raise errors.obstructed(key, obstacle, endpoint=store.endpoint) from exc


def _obstacle_to(store: _Store, key: str) -> str | None:
    """An object that lies where the store needs a folder; `None` if there is none, or no answer."""
    for folder in itertools.accumulate(key.split("/")[:-1], "{}/{}".format):
        try:
            store.get(folder, max_bytes=1)
        except ObjectNotFoundError:
            continue
        except StoreError:
            return None
        return folder
    return None
