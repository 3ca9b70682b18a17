"""An object store in memory, for tests; it passes the same tests as S3."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fornada.errors import ObjectNotFoundError
from fornada.storage.interface import Content, Downloaded, ObjectInfo, SignedPut, StoredObject


class InMemoryObjectStore:
    """An `ObjectStore` in a dictionary.

    Args:
        conditional_writes: `False` to behave like a store that ignores `If-None-Match`.
        clock: Seconds since the epoch, by the store's clock.
    """

    endpoint = "memory"

    def __init__(
        self, *, conditional_writes: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        self._conditional_writes = conditional_writes
        self._clock = clock
        self._objects: dict[tuple[str | None, str], bytes] = {}
        self._modified_at: dict[tuple[str | None, str], datetime] = {}
        self._lock = threading.RLock()

    @property
    def conditional_writes(self) -> bool:
        return self._conditional_writes

    def server_time(self) -> datetime:
        """The time by `clock`."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def create_bucket(self) -> None:
        """Nothing: buckets need no creation here."""

    def get(
        self, key: str, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> StoredObject:
        with self._lock:
            data = self._objects.get((bucket, key))
        if data is None:
            raise ObjectNotFoundError(f"no object {key!r}")
        return StoredObject(data=data[:max_bytes], etag=_etag(data))

    def get_range(
        self, key: str, *, first_byte: int, size_bytes: int, bucket: str | None = None
    ) -> StoredObject:
        whole = self.get(key, bucket=bucket)
        return replace(whole, data=whole.data[first_byte : first_byte + size_bytes])

    def download(
        self, key: str, path: Path, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> Downloaded:
        stored = self.get(key, bucket=bucket, max_bytes=max_bytes)
        path.write_bytes(stored.data)
        sha256 = hashlib.sha256(stored.data).hexdigest()
        return Downloaded(size_bytes=len(stored.data), sha256=sha256, etag=stored.etag)

    def put(self, key: str, data: Content, *, bucket: str | None = None) -> None:
        self._write((bucket, key), data if isinstance(data, bytes) else data.read_bytes())

    def put_if_absent(self, key: str, data: bytes) -> bool:
        with self._lock:
            if (None, key) not in self._objects:
                self._write((None, key), data)
            return self._objects[None, key] == data

    def presign_put(self, key: str, **_: object) -> SignedPut:
        """An address that only this process understands: whoever has the store puts the object."""
        return SignedPut(url=f"memory:///{key}", headers={})

    def list(self, prefix: str, *, bucket: str | None = None) -> Iterator[ObjectInfo]:
        with self._lock:
            found = sorted(
                (key, data, self._modified_at[in_bucket, key])
                for (in_bucket, key), data in self._objects.items()
                if in_bucket == bucket and key.startswith(prefix)
            )
        return (
            ObjectInfo(key=key, size_bytes=len(data), etag=_etag(data), modified_at=modified_at)
            for key, data, modified_at in found
        )

    def list_folders(self, prefix: str) -> Iterator[str]:
        names = {
            info.key.removeprefix(prefix).split("/")[0]
            for info in self.list(prefix)
            if "/" in info.key.removeprefix(prefix)
        }
        return iter(sorted(names))

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop((None, key), None)

    def _write(self, where: tuple[str | None, str], data: bytes) -> None:
        with self._lock:
            self._objects[where] = bytes(data)
            self._modified_at[where] = self.server_time()


def _etag(data: bytes) -> str:
    # As S3 does.
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
