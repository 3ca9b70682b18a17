"""An object store that delegates every call, so that a log, a metric or a test overrides one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path

from fornada.storage.interface import (
    Content,
    Downloaded,
    ObjectInfo,
    ObjectStore,
    SignedPut,
    StoredObject,
)


class StoreWrapper:
    """An `ObjectStore` that passes every call on to another one.

    Override one method to change one call, or `around` to time, log or refuse all of them.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    @property
    def objects(self) -> ObjectStore:
        """The store that calls are passed on to."""
        return self._objects

    def around(self, operation: str, key: str) -> AbstractContextManager[object]:  # noqa: ARG002 - for subclasses
        """The context that each call runs in; `operation` is the method's name."""
        return nullcontext()

    @property
    def endpoint(self) -> str:
        return self.objects.endpoint

    @property
    def conditional_writes(self) -> bool:
        return self.objects.conditional_writes

    def server_time(self) -> datetime:
        with self.around("server_time", ""):
            return self.objects.server_time()

    def create_bucket(self) -> None:
        with self.around("create_bucket", ""):
            self.objects.create_bucket()

    def get(
        self, key: str, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> StoredObject:
        with self.around("get", key):
            return self.objects.get(key, bucket=bucket, max_bytes=max_bytes)

    def get_range(
        self, key: str, *, first_byte: int, size_bytes: int, bucket: str | None = None
    ) -> StoredObject:
        with self.around("get_range", key):
            return self.objects.get_range(
                key, first_byte=first_byte, size_bytes=size_bytes, bucket=bucket
            )

    def download(
        self, key: str, path: Path, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> Downloaded:
        with self.around("download", key):
            return self.objects.download(key, path, bucket=bucket, max_bytes=max_bytes)

    def put(self, key: str, data: Content) -> None:
        with self.around("put", key):
            self.objects.put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        with self.around("put_if_absent", key):
            return self.objects.put_if_absent(key, data)

    def presign_put(
        self, key: str, *, size_bytes: int | None, sha256: str | None, expires_s: int
    ) -> SignedPut:
        with self.around("presign_put", key):
            return self.objects.presign_put(
                key, size_bytes=size_bytes, sha256=sha256, expires_s=expires_s
            )

    def list(self, prefix: str, *, bucket: str | None = None) -> Iterator[ObjectInfo]:
        with self.around("list", prefix):
            return self.objects.list(prefix, bucket=bucket)

    def list_folders(self, prefix: str) -> Iterator[str]:
        with self.around("list_folders", prefix):
            return self.objects.list_folders(prefix)

    def delete(self, key: str) -> None:
        with self.around("delete", key):
            self.objects.delete(key)
