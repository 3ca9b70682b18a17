"""The common case of a get and a put over plain http, with a third of boto3's work for each."""

import contextlib
import ipaddress
import re
import urllib.parse
from typing import Any

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.utils import get_environ_proxies

from fornada.s3_limits import BROKEN_OFF, Limits, Pace, read_body
from fornada.settings import Settings

#: Keys that no part of the way writes otherwise; all of Fornada's own are such.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
#: What is sent within the connect timeout also where lines are slow.
_MOST_SENT_BYTES = 1024 * 1024
_EXISTS = 412
_UNSIGNED_PAYLOAD = Config(s3={"payload_signing_enabled": False})


class Wire:
    """One try at a request, and only the answers that are plain: for all else there is boto3.

    A call through boto3 costs some 2 ms of CPU, three quarters of it in what a get or put of one
    object needs none of: hooks, endpoint rules, parsers. A shard has five of them.
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
        self._pool = urllib3.connectionpool.connection_from_url(
            self._endpoint,
            maxsize=settings.worker_threads + 16,
            timeout=urllib3.Timeout(connect=limits.connect_timeout_s, read=limits.read_timeout_s),
            retries=False,
        )

    def get(self, bucket: str, key: str, *, max_bytes: int | None) -> tuple[bytes, str] | None:
        """The object and its ETag; nothing where boto3 is to ask."""
        request = self._signed("GET", bucket, key)
        if request is None:
            return None
        with contextlib.suppress(*BROKEN_OFF, OSError):
            answer = self._send(request, preload_content=False)
            if answer.status == 200:  # noqa: PLR2004 - HTTP
                data = read_body(answer, max_bytes=max_bytes, pace=Pace(self._limits))
                answer.release_conn()
                return data, answer.headers.get("ETag", "")
            answer.drain_conn()
        return None

    def put(self, bucket: str, key: str, data: bytes, *, only_if_absent: bool) -> bool | None:
        """Whether the object was written, or is there already; nothing where boto3 is to put it."""
        if len(data) > _MOST_SENT_BYTES:
            return None
        condition = {"If-None-Match": "*"} if only_if_absent else {}
        request = self._signed("PUT", bucket, key, data=data, headers=condition)
        if request is None:
            return None
        with contextlib.suppress(*BROKEN_OFF, OSError):
            answer = self._send(request, body=data)
            if answer.status == 200:  # noqa: PLR2004 - HTTP
                return True
            if only_if_absent and answer.status == _EXISTS:
                return False
        return None

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

    def _send(self, request: AWSRequest, **options: Any) -> Any:
        path = urllib.parse.urlsplit(request.url).path
        headers = {**request.headers, "User-Agent": self._user_agent}
        return self._pool.urlopen(request.method, path, headers=headers, redirect=False, **options)


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
