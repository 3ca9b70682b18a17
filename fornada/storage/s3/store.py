"""The object store on S3; only this package speaks boto3."""

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

from botocore.exceptions import ClientError

from fornada.errors import ObjectNotFoundError, StoreError, StoreRefusedError
from fornada.settings import Settings
from fornada.storage.interface import Content, Downloaded, ObjectInfo, SignedPut, StoredObject
from fornada.storage.s3 import client, conditions, creation, listing
from fornada.storage.s3.fast.wire import FastHttpClient
from fornada.storage.s3.limits import Limits, ThroughputGuard, copy_body, read_body, read_whole
from fornada.storage.s3.presigning import Presigner
from fornada.storage.s3.puts import Puts
from fornada.storage.s3.refusals import errors
from fornada.storage.s3.refusals.obstacles import obstacles_named

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _our_error(exc: Exception, store: "S3ObjectStore", bucket: Any) -> StoreError:
    bucket = bucket or store.bucket
    return errors.translate_error(
        exc, endpoint=store.endpoint, bucket=bucket, own_bucket=bucket == store.bucket
    )


def _translated(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Translate boto3's errors into ours, with the endpoint and bucket in the message."""

    @functools.wraps(method)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except errors.RAISED as exc:
            store: Any = args[0]
            raise _our_error(exc, store, kwargs.get("bucket")) from exc

    return call


class S3ObjectStore:
    """Any S3-compatible store: a fast client for common requests, boto3 for the rest.

    The fast client does not sign payloads: hashing them twice triples the cost of a put, and the
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
        presigner: Presigner,
    ) -> None:
        self.bucket = bucket
        self.endpoint = endpoint
        self._connect = connect
        #: Tried first; if it has no answer, boto3 makes the request, with its retries and errors.
        self._wire = wire
        self._limits = limits
        self._presigner = presigner
        self._conditional_writes: bool | None = None
        self._puts = Puts(
            client=lambda: self._client,
            wire=lambda: self._wire,
            endpoint=endpoint,
            bucket=bucket,
            limits=limits,
        )

    @classmethod
    def from_settings(cls, settings: Settings, *, limits: Limits | None = None) -> "S3ObjectStore":
        """The store that the settings name; makes no contact yet.

        Args:
            settings: Its address and credentials.
            limits: Time limits; `None` for the defaults.

        Raises:
            ConfigError: Endpoint, region or bucket cannot be used.
        """
        limits = limits or Limits()
        client.check_address(settings)
        endpoint = settings.s3_endpoint_url or f"AWS {settings.s3_region}"
        boto = client.Boto(settings, limits)
        return cls(
            connect=lambda: boto.client,
            wire=boto.wire(),
            bucket=settings.s3_bucket,
            endpoint=endpoint,
            limits=limits,
            presigner=Presigner(settings, limits),
        )

    @functools.cached_property
    def _client(self) -> Any:
        # Created on first use: many processes need only the fast client.
        return self._connect()

    @property
    def conditional_writes(self) -> bool:
        """Whether the store lets one writer create an object; looked up or probed on first use."""
        if self._conditional_writes is None:
            found = conditions.kept(self) or self.probe()
            self._conditional_writes = found.honoured and self._puts.reach_with_conditions
        return self._conditional_writes

    @_translated
    def probe(self) -> conditions.Probe:
        """Find anew whether the store honours conditions, and keep it for all processes."""

        def put_new(key: str, data: bytes) -> bool:
            try:
                return self._puts.put_new(key, data)
            except ClientError as exc:
                if not errors.says_unknown_condition(exc):
                    raise
                return True

        found = conditions.probe(self, put_new)
        conditions.keep(self, found)
        return found

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
                said = "ignores the range of a request; submit local files instead"
                error = StoreRefusedError(f"{self.endpoint} {said}")
                raise error.with_public_text(f"the object store {said}")
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
        with obstacles_named(self, key):
            self._puts.put(key, data)

    @_translated
    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write `data` if the key is free; return whether these bytes are there now.

        If the store's answer is lost, a retry meets its own object, so "exists" is settled by
        reading back: make `data` unique to the writer. On a store that ignores conditions, two
        writers at the same moment may both be told yes, and the last one's bytes stay.
        """
        if self.conditional_writes:
            with obstacles_named(self, key):
                if self._puts.put_new(key, data):
                    return True
        elif self._beginning(key, data) is None:
            self.put(key, data)
        return self._beginning(key, data) == data

    @_translated
    def presign_put(self, key: str, **options: Any) -> SignedPut:
        return self._presigner.put(key, **options)

    @_translated
    def list(self, prefix: str, *, bucket: str | None = None) -> Iterator[ObjectInfo]:
        bucket = bucket or self.bucket
        return self._begun(
            (
                ObjectInfo(
                    key=entry["Key"],
                    size_bytes=entry["Size"],
                    etag=_bare(entry.get("ETag", "")),
                    modified_at=entry["LastModified"],
                )
                for page in self._pages(Bucket=bucket, Prefix=prefix)
                for entry in page.get("Contents", ())
            ),
            bucket=bucket,
        )

    @_translated
    def list_folders(self, prefix: str) -> Iterator[str]:
        """The names directly below `prefix`, which ends in `/`, a page in memory at a time."""
        return self._begun(
            (
                entry["Prefix"].removeprefix(prefix).rstrip("/")
                for page in self._pages(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
                for entry in page.get("CommonPrefixes", ())
            ),
            bucket=self.bucket,
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
        creation.create_bucket(self._client, self.bucket)

    def _pages(self, **asked: str) -> Iterator[dict[str, Any]]:
        return listing.pages(lambda: self._client, self._wire, limits=self._limits, **asked)

    def _begun(self, items: Iterator[_R], *, bucket: str) -> Iterator[_R]:
        """`items`, of which the first is asked for at once, and whose errors are translated."""

        def each() -> Iterator[_R]:
            try:
                yield from items
            except errors.RAISED as exc:
                raise _our_error(exc, self, bucket) from exc

        # Until here `@_translated` is around.
        return itertools.chain(list(itertools.islice(items, 1)), each())

    def _beginning(self, key: str, data: bytes) -> bytes | None:
        """As much of the object as is needed to compare it with `data`."""
        try:
            return self.get(key, max_bytes=len(data) + 1).data
        except ObjectNotFoundError:
            return None


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
