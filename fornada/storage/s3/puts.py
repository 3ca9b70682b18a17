"""Puts, with a checksum where the bucket wants one, and on condition where the object is new."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from fornada.storage.interface import Content
from fornada.storage.s3.fast.google import is_google
from fornada.storage.s3.fast.wire import FastHttpClient, md5_base64
from fornada.storage.s3.limits import Limits
from fornada.storage.s3.refusals import errors

#: Larger files are sent in parts, so that a connection that breaks costs one part.
_PART_BYTES = 64 * 1024 * 1024

_T = TypeVar("_T")


class Puts:
    """The puts into one bucket; raises what boto3 does."""

    def __init__(
        self,
        *,
        client: Callable[[], Any],
        wire: Callable[[], FastHttpClient | None],
        endpoint: str,
        bucket: str,
        limits: Limits,
    ) -> None:
        """Make no contact yet.

        Args:
            client: boto3's client.
            wire: The fast client, which is tried first.
            endpoint: Where the store is.
            bucket: The bucket.
            limits: Waits before a put is tried again.
        """
        self._client = client
        self._wire = wire
        self._endpoint = endpoint
        self._bucket = bucket
        self._limits = limits
        self._wants_checksums = False

    @property
    def reach_with_conditions(self) -> bool:
        """Whether the store's own condition can be sent; Google's needs the fast client."""
        if not is_google(self._endpoint):
            return True
        wire = self._wire()
        return wire is not None and wire.alone_sends_conditions(self._bucket)

    def put(self, key: str, data: Content) -> None:
        """Write `data`, replacing what was there."""
        if isinstance(data, Path):
            self._with_checksums(lambda wanted: self._put_file(key, data, with_checksum=wanted))
        else:
            self._with_checksums(lambda wanted: self._put(key, data, with_checksum=wanted))

    def put_new(self, key: str, data: bytes) -> bool:
        """Write `data` on condition that the key is free; whether the store says it was.

        A store that ignores the condition says so always.
        """
        waits_s = iter(self._limits.waits_s)
        while True:
            try:
                return self._with_checksums(
                    lambda wanted: self._put_new(key, data, with_checksum=wanted)
                )
            except ClientError as exc:
                # Writers met, or one deletes: S3 says to try again.
                wait_s = next(waits_s, None) if errors.says_conflict(exc) else None
                if wait_s is None:
                    raise
                time.sleep(wait_s)

    def _with_checksums(self, put: Callable[[bool], _T]) -> _T:
        """What `put` returns, which is given whether the bucket wants a checksum."""
        try:
            return put(self._wants_checksums)
        except ClientError as exc:
            if self._wants_checksums or not errors.says_checksum_is_missing(exc):
                raise
        self._wants_checksums = True
        return put(self._wants_checksums)

    def _put(self, key: str, data: bytes, *, with_checksum: bool) -> None:
        wire = self._wire()
        if wire is None or not wire.put(
            self._bucket, key, data, only_if_absent=False, with_checksum=with_checksum
        ):
            given = {"ContentMD5": md5_base64(data)} if with_checksum else {}
            self._client().put_object(Bucket=self._bucket, Key=key, Body=data, **given)

    def _put_file(self, key: str, path: Path, *, with_checksum: bool) -> None:
        from boto3.exceptions import S3UploadFailedError  # noqa: PLC0415 - 100 ms, as in `client`
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 - as above

        parts = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)
        # boto3 computes no MD5 of a part, but this.
        given = {"ChecksumAlgorithm": "CRC32"} if with_checksum else None
        try:
            self._client().upload_file(str(path), self._bucket, key, ExtraArgs=given, Config=parts)
        except S3UploadFailedError as exc:
            # It wraps the error that says why.
            raise exc.__cause__ or exc.__context__ or exc from exc

    def _put_new(self, key: str, data: bytes, *, with_checksum: bool) -> bool:
        wire = self._wire()
        if wire is not None:
            written = wire.put(
                self._bucket, key, data, only_if_absent=True, with_checksum=with_checksum
            )
            if written is not None:
                return written
            if wire.alone_sends_conditions(self._bucket):
                raise ClientError({"Error": {"Code": "ServiceUnavailable"}}, "PutObject")
        given = {"ContentMD5": md5_base64(data)} if with_checksum else {}
        try:
            self._client().put_object(
                Bucket=self._bucket, Key=key, Body=data, IfNoneMatch="*", **given
            )
        except ClientError as exc:
            if errors.says_exists(exc):
                return False
            raise
        return True
