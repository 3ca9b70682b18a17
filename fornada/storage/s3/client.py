"""boto3's client of a store, for every request that the fast client in `wire` leaves to it."""

import functools
from http import HTTPStatus
from typing import Any

import botocore
from botocore.config import Config
from botocore.exceptions import InvalidRegionError
from botocore.utils import validate_region_name

import fornada
from fornada.errors import ConfigError
from fornada.settings import Settings
from fornada.storage.s3 import address
from fornada.storage.s3.credentials import CredentialSource, keys_of, session_of
from fornada.storage.s3.fast.connections import Connections
from fornada.storage.s3.fast.wire import FastHttpClient
from fornada.storage.s3.limits import Limits, pace_puts
from fornada.storage.s3.refusals.unanswered import NotS3Error

_PAGE_BYTES = 256
_PASSING = (408, 425, 429)
_DONE = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
_REDIRECTS = (301, 302, 303, 307, 308)
_REGION_HEADER = "x-amz-bucket-region"
_WITH_ETAG = {"GetObject", "PutObject", "UploadPart"}
USER_AGENT = f"fornada/{fornada.__version__} botocore/{botocore.__version__}"


def check_address(settings: Settings) -> None:
    """Check what boto3 would refuse, without creating a client.

    Raises:
        ConfigError: The endpoint is no URL of a host alone, the region is not a name, or the bucket
            is an ARN, which only Amazon resolves.
    """
    endpoint = settings.s3_endpoint_url
    if endpoint is not None:
        problem = address.problem_of(endpoint)
        if problem is not None:
            # Without the URL, which may hold a password.
            raise ConfigError(
                f"FORNADA_S3_ENDPOINT_URL is not usable: {problem}; give e.g. http://127.0.0.1:9000"
            )
        if settings.s3_bucket.startswith("arn:"):
            raise ConfigError(
                f"FORNADA_S3_BUCKET is {settings.s3_bucket!r}, and only Amazon resolves ARNs; give "
                "the bucket's name, or unset FORNADA_S3_ENDPOINT_URL"
            )
    try:
        validate_region_name(settings.s3_region)
    except InvalidRegionError as exc:
        raise ConfigError(
            f"FORNADA_S3_REGION is not usable: {settings.s3_region}; give e.g. us-east-1"
        ) from exc


class Boto:
    """boto3's session and client of one store, each created on first use.

    Many processes need only the fast client, and boto3 takes 250 ms of CPU to import and create.
    """

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits

    @functools.cached_property
    def session(self) -> Any:
        """Botocore's session, for both clients."""
        return session_of(self._settings)

    @functools.cached_property
    def client(self) -> Any:
        """boto3's client; it makes no contact yet."""
        import boto3  # noqa: PLC0415 - 100 ms, as above

        settings = self._settings
        if not (settings.s3_endpoint_url or "").startswith("http://"):
            # boto3 would name the wrong file only as a failed connection.
            address.ca_bundle(self.session)
        client = boto3.session.Session(botocore_session=self.session).client(
            "s3",
            endpoint_url=settings.s3_endpoint_url,
            region_name=settings.s3_region,
            config=_config(settings, self._limits),
        )
        pace_puts(client, self._limits)
        # boto3 has parsed the answer by now, and has not acted on it.
        client.meta.events.register("response-received.s3", _refuse_other_servers)
        return client

    def wire(self) -> FastHttpClient:
        """The fast client of the same store, with the same credentials and certificates."""
        connections = Connections(
            limits=self._limits,
            most_idle=self._settings.most_threads + 16,
            tls=lambda: address.tls_context(self.session),
        )
        return FastHttpClient(
            connections=connections,
            find_url=self._find_url,
            find_credentials=self._find_credentials,
            region=self._settings.s3_region,
            limits=self._limits,
            user_agent=USER_AGENT,
        )

    def _find_url(self, bucket: str) -> str | None:
        own = address.own_url(self._settings)
        url = f"{own}/{bucket}" if own else address.bucket_url(self.client, bucket)
        return None if address.is_behind_a_proxy(url) else url

    def _find_credentials(self) -> CredentialSource:
        found: CredentialSource = keys_of(self._settings) or self.session.get_credentials()
        return found


def _refuse_other_servers(response_dict: Any, **_: Any) -> None:
    """Tell a web server from a store before its 404 is taken for a missing object.

    Raises:
        NotS3Error: It is no store.
    """
    if response_dict is None:
        return
    operation = response_dict["context"]["operation_name"]
    status, body, headers = (response_dict[name] for name in ("status_code", "body", "headers"))
    if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return
    beginning = body[:_PAGE_BYTES].lstrip().lower() if isinstance(body, bytes) else b""
    if beginning.startswith((b"<!doctype html", b"<html")):
        raise NotS3Error(f"a web page, status {status}")
    if isinstance(body, bytes) and b"<Error" in body:
        return
    if status in _REDIRECTS and _REGION_HEADER not in headers:
        raise NotS3Error(f"a redirect to {headers.get('location', '').partition('?')[0]}")
    if status in _DONE and operation in _WITH_ETAG and "etag" not in headers:
        if not isinstance(body, bytes):
            body.close()
        raise NotS3Error(f"no ETag, {headers.get('content-type', 'no content type')}")


def _config(settings: Settings, limits: Limits) -> Config:
    own_endpoint = settings.s3_endpoint_url is not None
    plain_http = (settings.s3_endpoint_url or "").startswith("http://")
    # boto3's CRC trailers break older S3 servers; we verify sha256 ourselves.
    checksums = "when_required" if own_endpoint else "when_supported"
    return Config(
        retries={"mode": "standard", "total_max_attempts": limits.attempts},
        connect_timeout=limits.connect_timeout_s,
        read_timeout=limits.read_timeout_s,
        max_pool_connections=settings.most_threads + 16,
        tcp_keepalive=True,
        signature_version="s3v4",
        # A proxy from the environment cannot reach this machine's loopback.
        proxies={} if address.is_loopback(settings.s3_endpoint_url or "") else None,
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
        s3={
            "addressing_style": "path" if own_endpoint else "virtual",
            "payload_signing_enabled": not plain_http,
        },
        # Complete: boto3 would rebuild it for each call, a fifth of its own time.
        user_agent=USER_AGENT,
    )
