"""Plain gets, puts and deletes over HTTP at a third of boto3's cost; boto3 does the rest."""

import ipaddress
import re
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPException

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.utils import get_environ_proxies

from fornada.settings import Settings
from fornada.storage.s3.connections import Answer, Connections
from fornada.storage.s3.limits import Limits, ThroughputGuard

#: Keys that need no escaping anywhere; all of Fornada's own match.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
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
_NO_SUCH_KEY = b"<Code>NoSuchKey</Code>"
_UNSIGNED_PAYLOAD = Config(s3={"payload_signing_enabled": False})


class FastHttpClient:
    """Makes one try at a request, and accepts only plain answers; boto3 does the rest.

    A call through boto3 takes 2 ms of CPU, three quarters of it in hooks, endpoint rules and
    parsers that a get or put of one object does not need.
    """

    def __init__(self, settings: Settings, limits: Limits, *, user_agent: str) -> None:
        secret = settings.s3_secret_access_key
        self._endpoint = (settings.s3_endpoint_url or "").rstrip("/")
        self._user_agent = user_agent
        self._auth = S3SigV4Auth(
            Credentials(settings.s3_access_key_id, secret.get_secret_value() if secret else None),
            "s3",
            settings.s3_region,
        )
        self._limits = limits
        self._connections = Connections(
            urllib.parse.urlsplit(self._endpoint).netloc,
            limits=limits,
            most_idle=settings.most_threads + 16,
        )

    def get(self, bucket: str, key: str, *, max_bytes: int | None) -> tuple[bytes, str] | None:
        """The object and its ETag; `None` if boto3 must make the request.

        Raises:
            ClientError: As boto3's: there is no such object.
            TooSlowError: The throughput is too low.
        """
        with self._body(bucket, key, max_bytes) as (answer, size_bytes):
            if answer is None or size_bytes > _MOST_AT_ONCE_BYTES:
                return None
            data = answer.read_paced(size_bytes, pace=ThroughputGuard(self._limits))
            return None if data is None else (data, answer.headers.get("ETag", ""))

    def download(
        self, bucket: str, key: str, write: Callable[[memoryview], object], *, max_bytes: int | None
    ) -> str | None:
        """Pass the object to `write`; its ETag, or `None` if boto3 must make the request.

        Raises:
            ClientError, TooSlowError: As `get`.
        """
        with self._body(bucket, key, max_bytes) as (answer, size_bytes):
            if answer is None:
                return None
            whole = answer.copy_paced(size_bytes, write, pace=ThroughputGuard(self._limits))
            return answer.headers.get("ETag", "") if whole else None
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
                with suppress(HTTPException, OSError):
                    if _NO_SUCH_KEY in answer.read(_MOST_OF_AN_ERROR_BYTES):
                        raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
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
                and (answer.headers.get("Content-Range") or "").startswith(f"bytes {first_byte}-")
                and answer.length is not None
                and answer.length <= size_bytes
            )
            if answer is None or answer.length is None or not is_part:
                return None
            data = answer.read_paced(answer.length, pace=ThroughputGuard(self._limits))
            return None if data is None else (data, answer.headers.get("ETag", ""))

    def put(self, bucket: str, key: str, data: bytes, *, only_if_absent: bool) -> bool | None:
        """Whether the object was written or exists already; `None` if boto3 must put it."""
        if len(data) > _MOST_SENT_BYTES:
            return None
        condition = {"If-None-Match": "*"} if only_if_absent else {}
        request = self._signed("PUT", bucket, key, data=data, headers=condition)
        if request is None:
            return None
        with self._connections.answer(request, self._user_agent) as answer:
            if answer is None:
                return None
            if answer.status == HTTPStatus.OK and _is_of_s3(answer):
                return True
            exists = only_if_absent and answer.status == HTTPStatus.PRECONDITION_FAILED
            return False if exists else None

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
    ) -> AWSRequest | None:
        if _PLAIN_KEY.fullmatch(key) is None or _PLAIN_KEY.fullmatch(bucket) is None:
            return None
        request = AWSRequest(
            method=method,
            url=f"{self._endpoint}/{bucket}/{key}",
            data=data,
            headers=headers,
        )
        request.context["client_config"] = _UNSIGNED_PAYLOAD
        self._auth.add_auth(request)
        return request


def _is_object(answer: Answer) -> bool:
    return answer.status in _WITH_A_BODY and _is_of_s3(answer)


def _is_of_s3(answer: Answer) -> bool:
    # Another web server answers with its page, which boto3 is to report.
    return "ETag" in answer.headers


def _range(max_bytes: int | None) -> dict[str, str]:
    """The header that limits an answer; a server without ranges sends everything.

    An empty object has no range, so the server refuses, and boto3 gets it.
    """
    if not max_bytes or max_bytes > _MOST_OF_A_RANGE_BYTES:
        return {}
    return {"Range": f"bytes=0-{max_bytes - 1}"}


def wire_to(settings: Settings, limits: Limits, *, user_agent: str) -> FastHttpClient | None:
    """The fast client of the store that the settings name; `None` unless HTTP, keys, no proxy."""
    endpoint = settings.s3_endpoint_url or ""
    if not endpoint.startswith("http://") or settings.s3_access_key_id is None:
        return None
    if urllib.parse.urlsplit(endpoint).path.strip("/"):
        return None
    if not is_loopback(endpoint) and get_environ_proxies(endpoint):
        return None
    return FastHttpClient(settings, limits, user_agent=user_agent)


def is_loopback(endpoint: str) -> bool:
    """Whether the endpoint is on this machine, which no proxy reaches."""
    host = urllib.parse.urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
