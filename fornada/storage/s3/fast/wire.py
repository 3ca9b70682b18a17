"""Plain gets, puts and deletes at a tenth of boto3's cost; boto3 does the rest."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from fornada.records import now
from fornada.storage.s3.credentials import CredentialSource
from fornada.storage.s3.fast.connections import Answer, Connections
from fornada.storage.s3.fast.google import is_google, put_if_absent
from fornada.storage.s3.fast.pages import parse_page
from fornada.storage.s3.fast.signing import Request, Signer
from fornada.storage.s3.limits import Limits, ThroughputGuard
from fornada.storage.s3.refusals import errors

#: Keys that need no escaping anywhere; all of Fornada's own match.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_PLAIN_BUCKET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
#: Directory buckets, which take credentials of their own.
_OWN_SESSIONS = "--x-s3"
#: The longest beginning of an object that is requested as a range; for a longer one the server has
#: sent as much before the connection can be closed.
_MOST_OF_A_RANGE_BYTES = 64 * 1024
#: The largest body, which even a slow line sends within the connect timeout.
_MOST_SENT_BYTES = 1024 * 1024
#: rclone answers 200 to a range as well.
_WITH_A_BODY = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
#: The most that is allocated because a header says so; more than a shard.
_MOST_AT_ONCE_BYTES = 1024 * 1024 * 1024
_MOST_OF_AN_ERROR_BYTES = 64 * 1024
#: Of a thousand objects, whose keys have up to a kilobyte.
_MOST_OF_A_PAGE_BYTES = 16 * 1024 * 1024
_CODE, _MESSAGE = re.compile(b"<Code>([^<]*)"), re.compile(b"<Message>([^<]*)")


class FastHttpClient:
    """Makes one try at a request, and accepts only plain answers; boto3 does the rest.

    A call through boto3 takes 2 ms of CPU, three quarters of it in hooks, endpoint rules and
    parsers that a get or put of one object does not need.
    """

    def __init__(
        self,
        *,
        connections: Connections,
        find_url: Callable[[str], str | None],
        find_credentials: Callable[[], CredentialSource],
        region: str,
        limits: Limits,
        user_agent: str,
    ) -> None:
        """Make no contact yet.

        Args:
            connections: To any server.
            find_url: The URL of a bucket, without a slash at its end; `None` if boto3 alone can
                reach it.
            find_credentials: Asked once, at the first request.
            region: To sign requests for.
            limits: The lowest throughput of a body.
            user_agent: What servers log.
        """
        self._connections = connections
        self._find_url = find_url
        self._urls: dict[str, str | None] = {}
        self._find_credentials = find_credentials
        self._credentials: CredentialSource | None = None
        self._signer = Signer(region)
        self._limits = limits
        self._user_agent = user_agent

    def get(self, bucket: str, key: str, *, max_bytes: int | None) -> tuple[bytes, str] | None:
        """The object and its ETag; `None` if boto3 must make the request.

        Raises:
            CaBundleError, ssl.SSLCertVerificationError: As `Connections.answer`.
            ClientError: As boto3's: there is no such object.
            CredentialsUnusableError: There are none.
            TooSlowError: The throughput is too low.
        """
        with self._body(bucket, key, max_bytes) as (answer, size_bytes):
            if answer is None or size_bytes > _MOST_AT_ONCE_BYTES:
                return None
            data = answer.read_paced(size_bytes, pace=ThroughputGuard(self._limits))
            return None if data is None else (data, answer.fields.get("etag", ""))

    def download(
        self, bucket: str, key: str, write: Callable[[memoryview], object], *, max_bytes: int | None
    ) -> str | None:
        """Pass the object to `write`; its ETag, or `None` if boto3 must make the request.

        Raises:
            Exception: As `get`.
        """
        with self._body(bucket, key, max_bytes) as (answer, size_bytes):
            if answer is None:
                return None
            whole = answer.copy_paced(size_bytes, write, pace=ThroughputGuard(self._limits))
            return answer.fields.get("etag", "") if whole else None
        # What `write` raises is taken for a broken connection, and raised again under boto3.
        return None

    @contextmanager
    def _body(
        self, bucket: str, key: str, max_bytes: int | None
    ) -> Iterator[tuple[Answer | None, int]]:
        """An answer with a body, and how much of it to read; no answer if boto3 must ask."""
        request = self._signed("GET", bucket, key, headers=_range(max_bytes))
        if request is None:
            yield None, 0
            return
        with self._connections.answer(request, self._user_agent) as answer:
            if answer is not None and answer.status == HTTPStatus.NOT_FOUND:
                # Common, since others poll for objects; a missing bucket, and an answer that breaks
                # off, are left to boto3.
                error = _error_of(answer, "GetObject")
                if error.response["Error"]["Code"] == "NoSuchKey":
                    raise error
                yield None, 0
            elif answer is None or answer.length is None or not _is_object(answer):
                yield None, 0
            else:
                yield answer, answer.length if max_bytes is None else min(answer.length, max_bytes)

    def get_range(
        self, bucket: str, key: str, *, first_byte: int, size_bytes: int
    ) -> tuple[bytes, str] | None:
        """Part of the object, and its ETag; `None` if boto3 must make the request.

        Raises:
            TooSlowError: The throughput is too low.
        """
        last_byte = first_byte + size_bytes - 1
        headers = {"Range": f"bytes={first_byte}-{last_byte}"}
        request = self._signed("GET", bucket, key, headers=headers)
        if request is None or size_bytes > _MOST_AT_ONCE_BYTES:
            return None
        with self._connections.answer(request, self._user_agent) as answer:
            is_part = (
                answer is not None
                and _is_object(answer)
                and answer.fields.get("content-range", "").startswith(f"bytes {first_byte}-")
                and answer.length is not None
                and answer.length <= size_bytes
            )
            if answer is None or answer.length is None or not is_part:
                return None
            data = answer.read_paced(answer.length, pace=ThroughputGuard(self._limits))
            return None if data is None else (data, answer.fields.get("etag", ""))

    def list_page(self, bucket: str, asked: Mapping[str, str]) -> dict[str, Any] | None:
        """A page of a listing as boto3's `list_objects_v2` has it; `None` if boto3 must ask.

        Raises:
            TooSlowError: The throughput is too low.
        """
        url = self.url_of(bucket)
        if url is None:
            return None
        names = {"list-type": "2", "encoding-type": "url", **asked}
        query = "&".join(f"{name}={quote(names[name], safe='-_.~')}" for name in sorted(names))
        unsigned = Request(method="GET", url=url, query=query, headers={})
        request = self._signer.signed(unsigned, self._keys(), now=now())
        with self._connections.answer(request, self._user_agent) as answer:
            if answer is None or answer.status != HTTPStatus.OK:
                return None
            body = answer.read_whole(_MOST_OF_A_PAGE_BYTES, pace=ThroughputGuard(self._limits))
            return None if body is None else parse_page(body)

    def alone_sends_conditions(self, bucket: str) -> bool:
        """Whether boto3 cannot put with a condition, since the store has one of its own."""
        url = self.url_of(bucket)
        return url is not None and is_google(url)

    def put(
        self, bucket: str, key: str, data: bytes, *, only_if_absent: bool, with_checksum: bool
    ) -> bool | None:
        """Whether the object was written or exists already; `None` if boto3 must put it.

        Raises:
            ClientError: As boto3's: the bucket wants a checksum, or refuses a put that boto3 cannot
                make.
            Exception: As `get`.
        """
        alone = only_if_absent and self.alone_sends_conditions(bucket)
        if len(data) > _MOST_SENT_BYTES and not alone:
            return None
        headers = {"If-None-Match": "*"} if only_if_absent else {}
        if with_checksum:
            headers["Content-MD5"] = md5_base64(data)
        if alone:
            request: Request | None = put_if_absent(
                f"{self.url_of(bucket)}/{key}", data, self._keys(), now=now()
            )
        else:
            request = self._signed("PUT", bucket, key, data=data, headers=headers)
        if request is None:
            return None
        with self._connections.answer(request, self._user_agent) as answer:
            if answer is None:
                return None
            if answer.status == HTTPStatus.OK and _is_of_s3(answer):
                return True
            if only_if_absent and answer.status == HTTPStatus.PRECONDITION_FAILED:
                return False
            if alone or answer.status == HTTPStatus.BAD_REQUEST:
                error = _error_of(answer, "PutObject")
                if alone or errors.says_checksum_is_missing(error):
                    raise error
            return None

    def delete(self, bucket: str, key: str) -> bool:
        """Whether the object is gone; if not, boto3 must delete it."""
        request = self._signed("DELETE", bucket, key)
        if request is None:
            return False
        with self._connections.answer(request, self._user_agent) as answer:
            return answer is not None and answer.status == HTTPStatus.NO_CONTENT

    def _signed(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Request | None:
        url = self.url_of(bucket) if _PLAIN_KEY.fullmatch(key) else None
        if url is None:
            return None
        request = Request(method=method, url=f"{url}/{key}", headers=headers or {}, data=data)
        return self._signer.signed(request, self._keys(), now=now())

    def _keys(self) -> Any:
        if self._credentials is None:
            self._credentials = self._find_credentials()
        # Asked each time: they may have been renewed.
        return self._credentials.get_frozen_credentials()

    def url_of(self, bucket: str) -> str | None:
        """Where requests for the bucket go; `None` if boto3 makes them all."""
        if bucket not in self._urls:
            plain = _PLAIN_BUCKET.fullmatch(bucket) and not bucket.endswith(_OWN_SESSIONS)
            self._urls[bucket] = self._find_url(bucket) if plain else None
        return self._urls[bucket]


def _error_of(answer: Answer, operation: str) -> ClientError:
    body = b""
    with suppress(HTTPException, OSError):
        body = answer.read(_MOST_OF_AN_ERROR_BYTES)
    code, message = (
        found[1].decode(errors="replace") if (found := pattern.search(body)) else ""
        for pattern in (_CODE, _MESSAGE)
    )
    error: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": answer.status},
    }
    return ClientError(error, operation)


def md5_base64(data: bytes) -> str:
    """The value of `Content-MD5`, the checksum that every S3 server knows."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _is_object(answer: Answer) -> bool:
    return answer.status in _WITH_A_BODY and _is_of_s3(answer)


def _is_of_s3(answer: Answer) -> bool:
    # Another web server answers with its page, which boto3 is to report.
    return "etag" in answer.fields


def _range(max_bytes: int | None) -> dict[str, str]:
    """The header that limits an answer; a server without ranges sends everything.

    An empty object has no range, so the server refuses, and boto3 gets it.
    """
    if not max_bytes or max_bytes > _MOST_OF_A_RANGE_BYTES:
        return {}
    return {"Range": f"bytes=0-{max_bytes - 1}"}
