"""boto3's client of a store, for every request that the fast client in `wire` leaves to it."""

from typing import Any

import botocore
from botocore.config import Config
from botocore.exceptions import InvalidRegionError
from botocore.utils import is_valid_endpoint_url, validate_region_name

import fornada
from fornada.errors import ConfigError
from fornada.settings import Settings
from fornada.storage.s3.limits import Limits, pace_puts
from fornada.storage.s3.unanswered import NotS3Error
from fornada.storage.s3.wire import is_loopback

_PAGE_BYTES = 256
_PASSING = (408, 425, 429)
_SERVER_ERROR = 500
USER_AGENT = f"fornada/{fornada.__version__} botocore/{botocore.__version__}"


def check_endpoint(settings: Settings) -> None:
    """Check what boto3 would refuse, without creating a client.

    Raises:
        ConfigError: The endpoint is not a URL, or the region is not a name.
    """
    endpoint = settings.s3_endpoint_url
    if endpoint is not None and not is_valid_endpoint_url(endpoint):
        raise ConfigError(
            f"FORNADA_S3_ENDPOINT_URL is not usable: {endpoint}; give e.g. http://127.0.0.1:9000"
        )
    try:
        validate_region_name(settings.s3_region)
    except InvalidRegionError as exc:
        raise ConfigError(
            f"FORNADA_S3_REGION is not usable: {settings.s3_region}; give e.g. us-east-1"
        ) from exc


def connect(settings: Settings, limits: Limits) -> Any:
    """A client of the store that the settings name; makes no contact yet.

    Importing and creating it takes 250 ms of CPU.
    """
    import boto3  # noqa: PLC0415 - 100 ms that many commands save

    secret = settings.s3_secret_access_key
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=_config(settings, limits),
    )
    pace_puts(client, limits)
    client.meta.events.register_first("before-parse.s3.*", _refuse_web_pages)
    return client


def _refuse_web_pages(response_dict: Any, **_: Any) -> None:
    """Tell a web server from a store before boto3 takes its 404 for a missing object."""
    status, body = response_dict["status_code"], response_dict["body"]
    if status in _PASSING or status >= _SERVER_ERROR:
        return
    if isinstance(body, bytes):
        is_page = body[:_PAGE_BYTES].lstrip().lower().startswith((b"<!doctype html", b"<html"))
    else:
        # An object, which may be a page: a store states its ETag.
        headers = response_dict["headers"]
        is_page = headers.get("content-type", "").startswith("text/html") and "etag" not in headers
        if is_page:
            body.close()
    if is_page:
        raise NotS3Error(f"a web page, status {status}")


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
        proxies={} if is_loopback(settings.s3_endpoint_url or "") else None,
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
        s3={
            "addressing_style": "path" if own_endpoint else "auto",
            "payload_signing_enabled": not plain_http,
        },
        # Complete: boto3 would rebuild it for each call, a fifth of its own time.
        user_agent=USER_AGENT,
    )
