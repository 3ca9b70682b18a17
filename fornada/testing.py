"""Stand-ins for tests: an object store in memory."""

import hashlib
import threading
from collections.abc import Iterator

from fornada.errors import ObjectNotFoundError
from fornada.object_store import ObjectInfo, StoredObject


class InMemoryObjectStore:
    """An `ObjectStore` in a dictionary; the same tests hold for it and for S3.

    Args:
        conditional_writes: `False` to behave like a store that ignores `If-None-Match`.
    """

    def __init__(self, *, conditional_writes: bool = True) -> None:
        self._conditional_writes = conditional_writes
        self._objects: dict[tuple[str | None, str], bytes] = {}
        self._lock = threading.Lock()

    @property
    def conditional_writes(self) -> bool:
        """Whether `put_if_absent` is decided by the store itself."""
        return self._conditional_writes

    def get(
        self, key: str, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> StoredObject:
        """The object under `key`; at most its first `max_bytes`."""
        with self._lock:
            data = self._objects.get((bucket, key))
        if data is None:
            raise ObjectNotFoundError(f"no object {key!r}")
        return StoredObject(data=data[:max_bytes], etag=_etag(data))

    def put(self, key: str, data: bytes, *, bucket: str | None = None) -> None:
        """Write `data`, replacing what was there."""
        with self._lock:
            self._objects[bucket, key] = bytes(data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write `data` if the key is free; return whether these bytes are there now."""
        with self._lock:
            return self._objects.setdefault((None, key), bytes(data)) == data

    def list(self, prefix: str, *, bucket: str | None = None) -> Iterator[ObjectInfo]:
        """All objects whose keys begin with `prefix`, in key order."""
        with self._lock:
            found = sorted(
                (key, data)
                for (in_bucket, key), data in self._objects.items()
                if in_bucket == bucket and key.startswith(prefix)
            )
        return (ObjectInfo(key=key, size_bytes=len(d), etag=_etag(d)) for key, d in found)

    def list_folders(self, prefix: str) -> Iterator[str]:
        """The names directly below `prefix` (which ends in `/`) that hold objects."""
        names = {
            info.key.removeprefix(prefix).split("/")[0]
            for info in self.list(prefix)
            if "/" in info.key.removeprefix(prefix)
        }
        return iter(sorted(names))

    def delete(self, key: str) -> None:
        """Delete the object; it need not exist."""
        with self._lock:
            self._objects.pop((None, key), None)


def _etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'
