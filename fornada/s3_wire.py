"""A get, a put or a delete over plain http as it mostly goes, with a third of boto3's work."""

import contextlib
import io
import ipaddress
import re
import urllib.parse
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.utils import get_environ_proxies

from fornada.s3_limits import Limits, Pace
from fornada.settings import Settings

#: Keys that no part of the way writes otherwise; all of Fornada's own are such.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
#: What is sent within the connect timeout also where lines are slow.
_MOST_SENT_BYTES = 1024 * 1024
_PIECE_BYTES = 64 * 1024
_FIRST_BYTES = 16 * 1024
_NO_SUCH_KEY = b"<Code>NoSuchKey</Code>"
_UNSIGNED_PAYLOAD = Config(s3={"payload_signing_enabled": False})


class Wire:
    """One try at a request, and only the answers that are plain: for all else there is boto3.

    A call through boto3 costs some 2 ms of CPU, three quarters of it in what a get or put of one
    object needs none of: hooks, endpoint rules, parsers. A body of 8 MB
    costs 11 ms more through it, and 4 when it is read off the connection.
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
        self._connections = _Connections(
            urllib.parse.urlsplit(self._endpoint).netloc,
            limits=limits,
            most_idle=settings.worker_threads + 16,
        )

    def get(self, bucket: str, key: str, *, max_bytes: int | None) -> tuple[bytes, str] | None:
        """The object and its ETag; nothing where boto3 is to ask.

        Raises:
            ClientError: As boto3's: there is no such object.
            TooSlowError: It trickles.
        """
        request = self._signed("GET", bucket, key)
        if request is None:
            return None
        with self._connections.answer(request, self._user_agent) as answer:
            if answer is not None and answer.status == HTTPStatus.NOT_FOUND:
                # Asked for often, to see whether something has come. Not so a bucket's absence.
                if _NO_SUCH_KEY in answer.read(_PIECE_BYTES):
                    raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
                return None
            if answer is None or answer.status != HTTPStatus.OK or answer.length is None:
                return None
            data = _read_body(answer, max_bytes=max_bytes, pace=Pace(self._limits))
            return None if data is None else (data, answer.headers.get("ETag", ""))

    def put(self, bucket: str, key: str, data: bytes, *, only_if_absent: bool) -> bool | None:
        """Whether the object was written, or is there already; nothing where boto3 is to put it."""
        if len(data) > _MOST_SENT_BYTES:
            return None
        condition = {"If-None-Match": "*"} if only_if_absent else {}
        request = self._signed("PUT", bucket, key, data=data, headers=condition)
        if request is None:
            return None
        with self._connections.answer(request, self._user_agent) as answer:
            if answer is None:
                return None
            if answer.status == HTTPStatus.OK:
                return True
            exists = only_if_absent and answer.status == HTTPStatus.PRECONDITION_FAILED
            return False if exists else None

    def delete(self, bucket: str, key: str) -> bool:
        """Whether the object is gone; if not, boto3 is to delete it."""
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


class _Connections:
    """Connections to one server, kept for the next request where an answer was read whole."""

    def __init__(self, netloc: str, *, limits: Limits, most_idle: int) -> None:
        self._netloc = netloc
        self._limits = limits
        self._idle: deque[HTTPConnection] = deque()
        self._most_idle = most_idle
        weakref.finalize(self, _close_all, self._idle)

    @contextlib.contextmanager
    def answer(self, request: AWSRequest, user_agent: str) -> Iterator[HTTPResponse | None]:
        """What the server says to the request; nothing where it breaks off."""
        connection = self._borrow()
        try:
            answer = self._ask(connection, request, user_agent)
        except (HTTPException, OSError):
            connection.close()
            yield None
            return
        try:
            yield answer
            # The text of an error; of anything longer, a new connection is cheaper.
            if answer.length is not None and answer.length <= _PIECE_BYTES:
                answer.read()
        except (HTTPException, OSError):
            connection.close()
        finally:
            whole = answer.isclosed() and not answer.will_close
            if whole and len(self._idle) < self._most_idle:
                self._idle.append(connection)
            else:
                connection.close()

    def _borrow(self) -> HTTPConnection:
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        return HTTPConnection(self._netloc, timeout=self._limits.connect_timeout_s)

    def _ask(
        self, connection: HTTPConnection, request: AWSRequest, user_agent: str
    ) -> HTTPResponse:
        if connection.sock is None:
            connection.connect()
        connection.sock.settimeout(self._limits.connect_timeout_s)
        path = urllib.parse.urlsplit(request.url).path
        headers = {**request.headers, "User-Agent": user_agent}
        connection.request(request.method, path, body=request.data, headers=headers)
        connection.sock.settimeout(self._limits.read_timeout_s)
        return connection.getresponse()


def _close_all(connections: Iterable[HTTPConnection]) -> None:
    for connection in connections:
        connection.close()


def _read_body(answer: HTTPResponse, *, max_bytes: int | None, pace: Pace) -> bytes | None:
    """The body, or its first `max_bytes`; nothing if it breaks off.

    Raises:
        TooSlowError: It trickles.
    """
    size_bytes = answer.length or 0
    if max_bytes is not None:
        size_bytes = min(size_bytes, max_bytes)
    if not size_bytes:
        return b""
    # Read where it stays: its buffer is handed out without a copy.
    body = io.BytesIO()
    body.seek(size_bytes - 1)
    body.write(b"\0")
    filled = 0
    with body.getbuffer() as buffer:
        while filled < size_bytes:
            began = pace.now()
            # Small at first: a piece that trickles is noticed when it is whole.
            step = _PIECE_BYTES if filled > _FIRST_BYTES else _FIRST_BYTES
            try:
                got = answer.readinto(buffer[filled : filled + step])
            except (HTTPException, OSError):
                return None
            if not got:
                return None
            filled += got
            pace.add(got, since=began)
    return body.getvalue()


def wire_to(settings: Settings, limits: Limits, *, user_agent: str) -> Wire | None:
    """The way to the store that the settings name, if it is one: http, own keys, no proxy."""
    endpoint = settings.s3_endpoint_url or ""
    if not endpoint.startswith("http://") or settings.s3_access_key_id is None:
        return None
    if urllib.parse.urlsplit(endpoint).path.strip("/"):
        return None
    if not is_loopback(endpoint) and get_environ_proxies(endpoint):
        return None
    return Wire(settings, limits, user_agent=user_agent)


def is_loopback(endpoint: str) -> bool:
    """Whether the endpoint is on this machine, where no proxy reaches it."""
    host = urllib.parse.urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
