"""The object store on S3; only this package speaks boto3."""

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from fornada import keys
from fornada.errors import ObjectNotFoundError, StoreRefusedError
from fornada.settings import Settings
from fornada.storage.interface import Content, Downloaded, ObjectInfo, StoredObject
from fornada.storage.s3 import client, errors
from fornada.storage.s3.limits import Limits, ThroughputGuard, copy_body, read_body, read_whole
from fornada.storage.s3.wire import FastHttpClient, wire_to

#: Larger files are sent in parts, so that a connection that breaks costs one part.
_PART_BYTES = 64 * 1024 * 1024

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _translated(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Translate boto3's errors into ours, with the endpoint and bucket in the message."""

    @functools.wraps(method)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except errors.RAISED as exc:
            store: Any = args[0]
            bucket: Any = kwargs.get("bucket") or store.bucket
            raise errors.translate_error(
                exc, endpoint=store.endpoint, bucket=bucket, own_bucket=bucket == store.bucket
            ) from exc

    return call


class S3ObjectStore:
    """Any S3-compatible store: a fast client for common requests, boto3 for the rest.

    Over plain HTTP payloads are not signed: hashing them twice triples the cost of a put, and the
    job protocol verifies the sha256 of everything that it reads.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], Any],
        wire: FastHttpClient | None,
        bucket: str,
        endpoint: str,
        limits: Limits,
    ) -> None:
        self.bucket = bucket
        self.endpoint = endpoint
        self._connect = connect
        #: Tried first; if it has no answer, boto3 makes the request, with its retries and errors.
        self._wire = wire
        self._limits = limits
        self._conditional_writes: bool | None = None

    @classmethod
    def from_settings(cls, settings: Settings, *, limits: Limits | None = None) -> "S3ObjectStore":
        """The store that the settings name; makes no contact yet.

        Args:
            settings: Its address and credentials.
            limits: Time limits; `None` for the defaults.

        Raises:
            ConfigError: The endpoint is not a URL, or the region is not a name.
        """
        limits = limits or Limits()
        client.check_endpoint(settings)
        endpoint = settings.s3_endpoint_url or f"AWS {settings.s3_region}"
        return cls(
            connect=functools.partial(client.connect, settings, limits),
            wire=wire_to(settings, limits, user_agent=client.USER_AGENT),
            bucket=settings.s3_bucket,
            endpoint=endpoint,
            limits=limits,
        )

    @functools.cached_property
    def _client(self) -> Any:
        """boto3's client, created on first use: many processes need only the fast client."""
        return self._connect()

    @property
    def conditional_writes(self) -> bool:
        """Whether the store honours `If-None-Match: *`; probed on first use."""
        if self._conditional_writes is None:
            self._conditional_writes = self._probe()
        return self._conditional_writes

    @_translated
    def get(
        self, key: str, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> StoredObject:
        """The object under `key`, or its first `max_bytes`.

        Raises:
            ObjectNotFoundError: There is none.
            StoreError: The store cannot be reached, breaks off, is too slow, or refuses.
        """
        bucket = bucket or self.bucket
        if self._wire is not None:
            found = self._wire.get(bucket, key, max_bytes=max_bytes)
            if found is not None:
                return StoredObject(data=found[0], etag=_bare(found[1]))
        pace = ThroughputGuard(self._limits)

        def read() -> StoredObject:
            answer = self._client.get_object(Bucket=bucket, Key=key)
            # No range request: rclone ignores it and answers 200; closing early costs less.
            data = read_body(answer["Body"], max_bytes=max_bytes, pace=pace)
            return StoredObject(data=data, etag=_bare(answer.get("ETag", "")))

        return read_whole(read, self._limits)

    @_translated
    def get_range(
        self, key: str, *, first_byte: int, size_bytes: int, bucket: str | None = None
    ) -> StoredObject:
        """`size_bytes` of the object under `key`, from `first_byte` on; fewer at its end.

        Raises:
            ObjectNotFoundError: There is none.
            StoreError: The store cannot be reached, breaks off, is too slow, or refuses.
        """
        if not size_bytes:
            return StoredObject(data=b"", etag="")
        bucket = bucket or self.bucket
        if self._wire is not None:
            found = self._wire.get_range(bucket, key, first_byte=first_byte, size_bytes=size_bytes)
            if found is not None:
                return StoredObject(data=found[0], etag=_bare(found[1]))
        pace = ThroughputGuard(self._limits)
        wanted = f"bytes={first_byte}-{first_byte + size_bytes - 1}"

        def read() -> StoredObject:
            try:
                answer = self._client.get_object(Bucket=bucket, Key=key, Range=wanted)
            except ClientError as exc:
                if errors.says_range_is_beyond(exc):
                    return StoredObject(data=b"", etag="")
                raise
            if "ContentRange" not in answer and first_byte:
                answer["Body"].close()
                raise StoreRefusedError(
                    f"{self.endpoint} ignores the range of a request; submit local files instead"
                )
            data = read_body(answer["Body"], max_bytes=size_bytes, pace=pace)
            return StoredObject(data=data, etag=_bare(answer.get("ETag", "")))

        return read_whole(read, self._limits)

    @_translated
    def download(
        self, key: str, path: Path, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> Downloaded:
        """Write the object under `key`, or its first `max_bytes`, into the file `path`.

        Raises:
            ObjectNotFoundError, StoreError: As `get`.
            OSError: The file cannot be written.
        """
        bucket = bucket or self.bucket
        if self._wire is not None:
            with _File(path) as file:
                etag = self._wire.download(bucket, key, file.write, max_bytes=max_bytes)
                if etag is not None:
                    return file.written(etag)
        pace = ThroughputGuard(self._limits)

        def read() -> Downloaded:
            with _File(path) as file:
                answer = self._client.get_object(Bucket=bucket, Key=key)
                copy_body(answer["Body"], file.write, max_bytes=max_bytes, pace=pace)
                return file.written(answer.get("ETag", ""))

        return read_whole(read, self._limits)

    @_translated
    def put(self, key: str, data: Content) -> None:
        if isinstance(data, Path):
            self._put_file(key, data)
        elif self._wire is None or not self._wire.put(self.bucket, key, data, only_if_absent=False):
            self._client.put_object(Bucket=self.bucket, Key=key, Body=data)

    @_translated
    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write `data` if the key is free; return whether these bytes are there now.

        If the store's answer is lost, a retry meets its own object, so "exists" is settled by
        reading back: make `data` unique to the writer. On a store that ignores conditions, two
        writers at the same moment may both be told yes, and the last one's bytes stay.
        """
        if self.conditional_writes:
            if self._put_new(key, data):
                return True
        elif self._read(key) is None:
            self.put(key, data)
        return self._read(key) == data

    @_translated
    def list(self, prefix: str, *, bucket: str | None = None) -> Iterator[ObjectInfo]:
        return iter(
            [
                ObjectInfo(
                    key=entry["Key"],
                    size_bytes=entry["Size"],
                    etag=_bare(entry.get("ETag", "")),
                    modified_at=entry["LastModified"],
                )
                for page in self._pages(Bucket=bucket or self.bucket, Prefix=prefix)
                for entry in page.get("Contents", ())
            ]
        )

    @_translated
    def list_folders(self, prefix: str) -> Iterator[str]:
        return iter(
            [
                entry["Prefix"].removeprefix(prefix).rstrip("/")
                for page in self._pages(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
                for entry in page.get("CommonPrefixes", ())
            ]
        )

    @_translated
    def delete(self, key: str) -> None:
        if self._wire is None or not self._wire.delete(self.bucket, key):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    @_translated
    def server_time(self) -> datetime:
        """The time in the store's answer, to the second."""
        answer = self._client.head_bucket(Bucket=self.bucket)
        try:
            return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        except (KeyError, ValueError) as exc:
            raise StoreRefusedError(
                f"{self.endpoint} states no Date in its answers; use a store that does"
            ) from exc

    @_translated
    def create_bucket(self) -> None:
        try:
            self._client.create_bucket(Bucket=self.bucket)
        except ClientError as exc:
            if not errors.says_own_bucket(exc):
                raise

    def _put_file(self, key: str, path: Path) -> None:
        from boto3.exceptions import S3UploadFailedError  # noqa: PLC0415 - 100 ms, as in `client`
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 - as above

        parts = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)
        try:
            self._client.upload_file(str(path), self.bucket, key, Config=parts)
        except S3UploadFailedError as exc:
            # It wraps the error that says why.
            raise exc.__cause__ or exc.__context__ or exc from exc

    def _pages(self, **asked: str) -> Sequence[dict[str, Any]]:
        def read() -> Sequence[dict[str, Any]]:
            # Read to the end: errors of a lazy iterator would escape the translation.
            pages = list(self._client.get_paginator("list_objects_v2").paginate(**asked))
            if not all("IsTruncated" in page for page in pages):
                # boto3 takes an answer that broke off before its first byte for an empty listing.
                raise ResponseParserError("the answer is not a listing")
            return pages

        return read_whole(read, self._limits)

    def _read(self, key: str) -> bytes | None:
        try:
            return self.get(key).data
        except ObjectNotFoundError:
            return None

    def _put_new(self, key: str, data: bytes) -> bool:
        if self._wire is not None:
            written = self._wire.put(self.bucket, key, data, only_if_absent=True)
            if written is not None:
                return written
        try:
            self._client.put_object(Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as exc:
            if errors.says_exists(exc):
                return False
            raise
        return True

    @_translated
    def _probe(self) -> bool:
        key = keys.probe()
        try:
            # The first is refused if its answer was lost and boto3's retry met its own object.
            return not (self._put_new(key, b"1") and self._put_new(key, b"2"))
        except ClientError as exc:
            if errors.says_unknown_condition(exc):
                return False
            raise
        finally:
            self.delete(key)


class _File:
    """A file to download into; it is begun anew each time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, piece: bytes | memoryview) -> None:
        self._digest.update(piece)
        self._file.write(piece)
        self._size_bytes += len(piece)

    def written(self, etag: str) -> Downloaded:
        """What was written; the last of it reaches the disk here."""
        self._file.flush()
        return Downloaded(
            size_bytes=self._size_bytes, sha256=self._digest.hexdigest(), etag=_bare(etag)
        )


def _bare(etag: str) -> str:
    # Some servers quote ETags in reads but not in listings.
    return etag.strip('"')
