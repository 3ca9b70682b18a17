"""The object store: a Protocol, and S3 behind it. The only module that speaks boto3."""

import functools
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
)

from fornada.errors import (
    BucketNotFoundError,
    ConfigError,
    ObjectNotFoundError,
    StoreAccessError,
    StoreError,
    StoreUnavailableError,
)
from fornada.settings import Settings

_P = ParamSpec("_P")
_R = TypeVar("_R")

_ABSENT = {"NoSuchKey", "404", "NotFound"}
_REFUSED = {
    "AccessDenied",
    "403",
    "Forbidden",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
}
_EXISTS = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """What a listing or a read tells of an object."""

    key: str
    size_bytes: int
    etag: str


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


def _translated(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn boto3's errors into ours, with the endpoint and bucket in the text."""

    @functools.wraps(method)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except (ClientError, BotoCoreError, HTTPClientError) as exc:
            store: Any = args[0]
            bucket: Any = kwargs.get("bucket") or store.bucket
            raise store.explain(exc, bucket=bucket) from exc

    return call


class S3ObjectStore:
    """Any S3-compatible store, through boto3.

    Over plain http payloads are not signed: hashing them a second time triples the cost of a
    put, and the job protocol checks its own sha256 of everything that it reads.
    """

    def __init__(self, *, client: Any, bucket: str, endpoint: str) -> None:
        self.bucket = bucket
        self.endpoint = endpoint
        self._client = client
        self._conditional_writes: bool | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "S3ObjectStore":
        """The store that the settings name; nothing is contacted yet.

        Raises:
            ConfigError: The endpoint is not a URL.
        """
        secret = settings.s3_secret_access_key
        plain_http = (settings.s3_endpoint_url or "").startswith("http://")
        try:
            client = boto3.session.Session().client(
                "s3",
                endpoint_url=settings.s3_endpoint_url,
                region_name=settings.s3_region,
                aws_access_key_id=settings.s3_access_key_id,
                aws_secret_access_key=secret.get_secret_value() if secret else None,
                config=_client_config(settings, plain_http=plain_http),
            )
        except ValueError as exc:
            raise ConfigError(
                f"FORNADA_S3_ENDPOINT_URL is not usable: {exc}; give e.g. http://127.0.0.1:9000"
            ) from exc
        endpoint = settings.s3_endpoint_url or f"AWS {settings.s3_region}"
        return cls(client=client, bucket=settings.s3_bucket, endpoint=endpoint)

    @property
    def conditional_writes(self) -> bool:
        """Whether the store honours `If-None-Match: *`; probed once, on first use."""
        if self._conditional_writes is None:
            self._conditional_writes = self._probe()
        return self._conditional_writes

    @_translated
    def get(
        self, key: str, *, bucket: str | None = None, max_bytes: int | None = None
    ) -> StoredObject:
        """The object under `key`; at most its first `max_bytes`.

        Raises:
            ObjectNotFoundError: There is none.
            StoreError: The store cannot be reached or refuses.
        """
        answer = self._client.get_object(Bucket=bucket or self.bucket, Key=key)
        # No range request: rclone answers 200 with everything; closing early costs less.
        with answer["Body"] as body:
            return StoredObject(data=body.read(max_bytes), etag=_bare(answer["ETag"]))

    @_translated
    def put(self, key: str, data: bytes) -> None:
        """Write `data`, replacing what was there."""
        self._client.put_object(Bucket=self.bucket, Key=key, Body=data)

    @_translated
    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write `data` if the key is free; return whether these bytes are there now.

        A store's answer can be lost and the SDK's retry then meets its own object, so "exists"
        is settled by reading back: make `data` unique to the writer to know whose it is. Where
        the store ignores conditions, two writers within a moment can both be told yes, and the
        last one's bytes stay.
        """
        if self.conditional_writes:
            if self._put_new(key, data):
                return True
        elif self._read(key) is None:
            self._client.put_object(Bucket=self.bucket, Key=key, Body=data)
        return self._read(key) == data

    @_translated
    def list(self, prefix: str, *, bucket: str | None = None) -> Iterator[ObjectInfo]:
        """All objects whose keys begin with `prefix`, in key order."""
        # Read whole: errors of a lazy iterator would escape the translation.
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket or self.bucket, Prefix=prefix
        )
        return iter(
            [
                ObjectInfo(
                    key=entry["Key"], size_bytes=entry["Size"], etag=_bare(entry.get("ETag", ""))
                )
                for page in pages
                for entry in page.get("Contents", ())
            ]
        )

    @_translated
    def list_folders(self, prefix: str) -> Iterator[str]:
        """The names directly below `prefix` (which ends in `/`) that hold objects."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix, Delimiter="/"
        )
        return iter(
            [
                entry["Prefix"].removeprefix(prefix).rstrip("/")
                for page in pages
                for entry in page.get("CommonPrefixes", ())
            ]
        )

    @_translated
    def delete(self, key: str) -> None:
        """Delete the object; it need not exist."""
        self._client.delete_object(Bucket=self.bucket, Key=key)

    @_translated
    def create_bucket(self) -> None:
        """Create the bucket; it may exist already."""
        try:
            self._client.create_bucket(Bucket=self.bucket)
        except ClientError as exc:
            if _code(exc) not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise

    def explain(self, exc: Exception, *, bucket: str) -> StoreError:
        """Our error for boto3's while it worked on `bucket`, with its remedy."""
        where = f"object store {self.endpoint}"
        if isinstance(exc, NoCredentialsError):
            return StoreAccessError(
                f"no credentials for {where}; set FORNADA_S3_ACCESS_KEY_ID and "
                "FORNADA_S3_SECRET_ACCESS_KEY"
            )
        # Keys are ours and valid, so what boto3 refuses to ask for is the bucket.
        if isinstance(exc, ParamValidationError) or _code(exc) == "NoSuchBucket":
            return self._no_bucket(bucket, valid=isinstance(exc, ClientError))
        if not isinstance(exc, ClientError):
            return StoreUnavailableError(
                f"{where} cannot be reached ({type(exc).__name__}); check FORNADA_S3_ENDPOINT_URL "
                "and that the store runs (`fornada up` starts one)"
            )
        code = _code(exc)
        if code in _ABSENT:
            return ObjectNotFoundError(f"no such object in bucket {bucket!r} on {where}")
        if code in _REFUSED:
            return StoreAccessError(
                f"{where} refuses the credentials or the permission ({code}); check "
                "FORNADA_S3_ACCESS_KEY_ID, FORNADA_S3_SECRET_ACCESS_KEY and the bucket's policy"
            )
        return StoreUnavailableError(
            f"{where} failed ({code}: {exc.response.get('Error', {}).get('Message', '')}); "
            "try again, or look at the store's log"
        )

    def _no_bucket(self, bucket: str, *, valid: bool) -> BucketNotFoundError:
        ours = bucket == self.bucket
        if not valid:
            setting = "FORNADA_S3_BUCKET" if ours else "the s3:// address"
            return BucketNotFoundError(f"{bucket!r} is not the name of a bucket; check {setting}")
        remedy = (
            "create it (`fornada doctor --create-bucket`) or set FORNADA_S3_BUCKET"
            if ours
            else "check the s3:// address"
        )
        return BucketNotFoundError(
            f"bucket {bucket!r} does not exist on object store {self.endpoint}; {remedy}"
        )

    def _read(self, key: str) -> bytes | None:
        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
            with answer["Body"] as body:
                data: bytes = body.read()
        except ClientError as exc:
            if _code(exc) in _ABSENT:
                return None
            raise
        return data

    def _put_new(self, key: str, data: bytes) -> bool:
        try:
            self._client.put_object(Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as exc:
            if _code(exc) in _EXISTS:
                return False
            raise
        return True

    @_translated
    def _probe(self) -> bool:
        key = f"probe/{uuid.uuid4().hex}"
        try:
            self._client.put_object(Bucket=self.bucket, Key=key, Body=b"1", IfNoneMatch="*")
            return not self._put_new(key, b"2")
        except ClientError as exc:
            if _code(exc) in {"NotImplemented", "501"}:
                return False
            raise
        finally:
            self._client.delete_object(Bucket=self.bucket, Key=key)


def _client_config(settings: Settings, *, plain_http: bool) -> Config:
    own_endpoint = settings.s3_endpoint_url is not None
    host = urllib.parse.urlsplit(settings.s3_endpoint_url or "").hostname
    # boto3's CRC trailers break older S3 servers; we check sha256 ourselves.
    checksums = "when_required" if own_endpoint else "when_supported"
    return Config(
        retries={"mode": "standard", "total_max_attempts": 5},
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=settings.worker_threads + 16,
        tcp_keepalive=True,
        signature_version="s3v4",
        # A proxy that the environment names cannot reach this machine's loopback.
        proxies={} if host in {"127.0.0.1", "localhost", "::1"} else None,
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
        s3={
            "addressing_style": "path" if own_endpoint else "auto",
            "payload_signing_enabled": not plain_http,
        },
        user_agent_extra=f"fornada botocore/{botocore.__version__}",
    )


def _bare(etag: str) -> str:
    # Some servers quote an ETag on a read and not in a listing.
    return etag.strip('"')


def _code(exc: Exception) -> str:
    """The store's word for what is wrong; empty where it did not answer."""
    response: Any = getattr(exc, "response", {})
    return str(response.get("Error", {}).get("Code", ""))
