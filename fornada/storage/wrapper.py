"""An object store that delegates every call, so that a log, a metric or a test overrides one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from fornada.storage.interface import ObjectInfo, ObjectStore, StoredObject


class StoreWrapper:
    """An `ObjectStore` that passes every call on to another one.

    Override one method to change one call, or `around` to time, log or refuse all of them.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects

    def around(self, operation: str, key: str) -> AbstractContextManager[object]:  # noqa: ARG002 - for subclasses
        """The context that each call runs in; `operation` is the method's name."""
        return nullcontext()

    @property
    def endpoint(self) -> str:
        """Where the store is, for messages."""
        return self.objects.endpoint

    @property
    def conditional_writes(self) -> bool:
        """Whether the store itself decides `put_if_absent`."""
        return self.objects.conditional_writes

    def create_bucket(self) -> None:
        """Create the bucket; it may exist already."""
        with self.around("create_bucket", ""):
            self.objects.create_bucket()

    def get(
        self, key: str, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> StoredObject:
        """The object under `key`, or its first `max_bytes`."""
        with self.around("get", key):
            return self.objects.get(key, bucket=bucket, max_bytes=max_bytes)

    def put(self, key: str, data: bytes) -> None:
        """Write `data`, replacing what was there."""
        with self.around("put", key):
            self.objects.put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write `data` if the key is free; return whether these bytes are there now."""
        with self.around("put_if_absent", key):
            return self.objects.put_if_absent(key, data)

    def list(self, prefix: str, *, bucket: str | None = None) -> Iterator[ObjectInfo]:
        """All objects whose keys begin with `prefix`, in key order."""
        with self.around("list", prefix):
            return self.objects.list(prefix, bucket=bucket)

    def list_folders(self, prefix: str) -> Iterator[str]:
        """The names directly below `prefix`, which ends in `/`, that hold objects."""
        with self.around("list_folders", prefix):
            return self.objects.list_folders(prefix)

    def delete(self, key: str) -> None:
        """Delete the object; it need not exist."""
        with self.around("delete", key):
            self.objects.delete(key)
