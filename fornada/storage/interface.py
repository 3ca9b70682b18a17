"""The object store, as everything above it sees it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """What a listing or a read tells of an object."""

    key: str
    size_bytes: int
    etag: str
    #: By the store's clock.
    modified_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """An object's bytes, and what the store calls this version of them."""

    data: bytes
    etag: str


class ObjectStore(Protocol):
    """What Fornada needs of a store. Keys are UTF-8; writes are whole objects."""

    @property
    def conditional_writes(self) -> bool:
        """Whether `put_if_absent` is decided by the store itself."""

    def get(
        self, key: str, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> StoredObject:
        """The object under `key`; at most its first `max_bytes`."""

    def put(self, key: str, data: bytes) -> None:
        """Write `data`, replacing what was there."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write `data` if the key is free; return whether these bytes are there now."""

    def list(self, prefix: str, *, bucket: str | None = None) -> Iterator[ObjectInfo]:
        """All objects whose keys begin with `prefix`, in key order."""

    def list_folders(self, prefix: str) -> Iterator[str]:
        """The names directly below `prefix` (which ends in `/`) that hold objects."""

    def delete(self, key: str) -> None:
        """Delete the object; it need not exist."""
