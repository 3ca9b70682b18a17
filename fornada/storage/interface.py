"""The interface of object stores: all that Fornada needs of one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

#: An object's bytes, or the file that holds them.
Content = bytes | Path


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """What a listing says of an object."""

    key: str
    size_bytes: int
    etag: str
    #: By the store's clock.
    modified_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """An object's bytes, and the store's name for this version of them."""

    data: bytes
    etag: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Downloaded:
    """What a download wrote into a file."""

    size_bytes: int
    sha256: str
    etag: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedPut:
    """How somebody without credentials puts one object."""

    url: str
    #: To be sent with it: they are part of the signature.
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class StoreProperty:
    """One thing that a store does, and how."""

    name: str
    answer: str


class ObjectStore(Protocol):
    """A bucket of objects. Keys are UTF-8, and a write replaces the whole object."""

    @property
    def endpoint(self) -> str:
        """Where the store is, for messages."""

    @property
    def conditional_writes(self) -> bool:
        """Whether the store itself decides `put_if_absent`."""

    def server_time(self) -> datetime:
        """The time by the store's clock, to the second or better."""

    def create_bucket(self) -> None:
        """Create the bucket; it may exist already."""

    def get(
        self, key: str, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> StoredObject:
        """The object under `key`, or its first `max_bytes`."""

    def get_range(
        self, key: str, *, first_byte: int, size_bytes: int, bucket: str | None = None
    ) -> StoredObject:
        """`size_bytes` of the object under `key`, from `first_byte` on; fewer at its end."""

    def download(
        self, key: str, path: Path, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> Downloaded:
        """Write the object under `key`, or its first `max_bytes`, into the file `path`."""

    def put(self, key: str, data: Content) -> None:
        """Write `data`, replacing what was there."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write `data` if the key is free; return whether these bytes are there now."""

    def presign_put(
        self, key: str, *, size_bytes: int | None, sha256: str | None, expires_s: int
    ) -> SignedPut:
        """How others put an object of this size and digest, if given, under `key`."""

    def list(self, prefix: str, *, bucket: str | None = None) -> Iterator[ObjectInfo]:
        """All objects whose keys begin with `prefix`, in key order."""

    def list_folders(self, prefix: str) -> Iterator[str]:
        """The names directly below `prefix`, which ends in `/`, that hold objects."""

    def delete(self, key: str) -> None:
        """Delete the object; it need not exist."""


def content_size_bytes(data: Content) -> int:
    """The size of the bytes, or of the file."""
    return len(data) if isinstance(data, bytes) else data.stat().st_size
