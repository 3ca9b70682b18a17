"""What keeps a store that is a file system, such as rclone's, from writing a key."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from botocore.exceptions import ClientError

from fornada.errors import ObjectNotFoundError, StoreError
from fornada.storage.interface import ObjectInfo, StoredObject
from fornada.storage.s3.refusals import errors


class _Store(Protocol):
    endpoint: str

    def get(self, key: str, *, max_bytes: int | None = None) -> StoredObject: ...
    def list(self, prefix: str) -> Iterator[ObjectInfo]: ...


@contextmanager
def obstacles_named(store: _Store, key: str) -> Iterator[None]:
    """Say what is in the way of a put of `key` that fails inside the store.

    Consoles make an empty object `a/b/` for a folder. On such a store it is the file `a/b`, and no
    file can be below it: every try would fail. So would that of a file `a` after an object `a/b`.

    Raises:
        StoreRefusedError: Another object is in the way.
    """
    try:
        yield
    except ClientError as exc:
        if not errors.says_it_failed(exc):
            raise
        obstacle = _obstacle_to(store, key)
        if obstacle is not None:
            raise errors.obstructed(key, obstacle, endpoint=store.endpoint) from exc
        if _is_folder(store, key):
            raise errors.obstructed_by_folder(key, endpoint=store.endpoint) from exc
        raise


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


def _is_folder(store: _Store, key: str) -> bool:
    """Whether a folder lies where the store needs a file: it lists the key, and has no object."""
    try:
        if not any(found.key == key for found in store.list(key)):
            return False
        store.get(key, max_bytes=1)
    except ObjectNotFoundError:
        return True
    except StoreError:
        pass
    return False
