"""Where a store's buckets are, and how their servers' certificates are verified."""

import ipaddress
import ssl
import urllib.parse
from typing import Any

from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies, is_valid_endpoint_url

from fornada.settings import Settings


class CaBundleError(Exception):
    """The file of trusted certificates cannot be read."""


def problem_of(endpoint: str) -> str | None:
    """Why no requests can be sent to a URL; `None` if they can."""
    try:
        parts = urllib.parse.urlsplit(endpoint)
        port = parts.port
    except ValueError:
        # Python's text quotes the URL, which may hold a password.
        return "it is no URL"
    if parts.username is not None or parts.password is not None:
        return "it holds a user or password"
    if port == 0 or parts.query or parts.fragment or not is_valid_endpoint_url(endpoint):
        return "it is no URL of a host"
    return None


def own_url(settings: Settings) -> str | None:
    """The settings' endpoint, if buckets are folders there; `None` if boto3 must find them."""
    endpoint = (settings.s3_endpoint_url or "").rstrip("/")
    return endpoint if endpoint and not urllib.parse.urlsplit(endpoint).path else None


def bucket_url(client: Any, bucket: str) -> str:
    """Where boto3 sends the requests for a bucket: a host of its own, or a folder."""
    signed = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "key"})
    return str(signed).partition("?")[0].removesuffix("/key")


def is_behind_a_proxy(url: str) -> bool:
    """Whether the environment wants a proxy between; none reaches this machine's loopback."""
    return not is_loopback(url) and bool(get_environ_proxies(url))


def is_loopback(url: str) -> bool:
    """Whether the URL is on this machine."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ca_bundle(session: Any) -> str:
    """The file of trusted certificates: `AWS_CA_BUNDLE`, boto3's `ca_bundle`, or boto3's own.

    Raises:
        CaBundleError: It cannot be read, or has no certificate.
    """
    path = str(session.get_config_variable("ca_bundle") or get_cert_path(verify=True))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as exc:
        raise CaBundleError(f"{path}: {exc.strerror or exc}") from exc
    return path


def tls_context(session: Any) -> ssl.SSLContext:
    """Verifies certificates and host names against the same file as boto3.

    Raises:
        CaBundleError: As `ca_bundle`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca_bundle(session))
    return context
