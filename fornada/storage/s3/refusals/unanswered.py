"""Why a request got no answer of S3: name, connection, certificate, proxy, or another server."""

from ssl import SSLCertVerificationError

from botocore.exceptions import (
    BotoCoreError,
    ConnectionError,  # noqa: A004 - botocore's name
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidProxiesConfigError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)

from fornada.errors import StoreAddressError, StoreError, StoreUnavailableError
from fornada.storage.s3.address import CaBundleError, is_loopback
from fornada.storage.s3.limits import BROKEN_OFF, TooSlowError

_ENDPOINT = "check FORNADA_S3_ENDPOINT_URL"
_PROXY = "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
_NO_NAME = ("NameResolutionError", "Name or service not known", "name resolution")
_MOST_CHARACTERS = 300


class NotS3Error(Exception):
    """The answer is a web page."""


def not_answered(exc: Exception, where: str) -> StoreError:
    """Our error for one of boto3's other than an answer of S3."""
    # boto3 wraps an error that it meets while it sends a body.
    cause = getattr(exc, "kwargs", {}).get("error")
    if isinstance(too_slow := cause or exc, TooSlowError):
        return StoreUnavailableError(
            f"{where} is too slow ({too_slow}); try again, or check the network"
        )
    if isinstance(exc, NotS3Error):
        return StoreAddressError(
            f"{where} does not answer as S3 does ({exc}); {_ENDPOINT}, and any proxy before it"
        )
    if isinstance(exc, CaBundleError | SSLError | SSLCertVerificationError):
        return _untrusted(exc, where)
    if isinstance(exc, InvalidProxiesConfigError | ProxyConnectionError):
        kind = StoreUnavailableError if isinstance(exc, ProxyConnectionError) else StoreAddressError
        return kind(f"the proxy for {where} cannot be used ({_said(exc)}); {_PROXY}")
    if isinstance(exc, BROKEN_OFF):
        return StoreUnavailableError(
            f"{where} broke off its answers repeatedly ({type(exc).__name__}); try again, or check "
            "the network"
        )
    return _not_reached(exc, where)


def _not_reached(exc: Exception, where: str) -> StoreError:
    if isinstance(exc, BotoCoreError) and not isinstance(exc, HTTPClientError | ConnectionError):
        return StoreAddressError(
            f"boto3 cannot make a request to {where} ({_said(exc)}); check the AWS_ variables and "
            "~/.aws/config"
        )
    # Its last word is the endpoint. `fornada up` starts a store on this machine alone.
    starts_one = " (`fornada up` starts one)" if is_loopback(where.rpartition(" ")[2]) else ""
    return StoreUnavailableError(
        f"{where} cannot be reached ({_why(exc)}); {_ENDPOINT} and that the store runs{starts_one}"
    )


def _untrusted(exc: Exception, where: str) -> StoreError:
    if isinstance(exc, CaBundleError):
        return StoreAddressError(
            f"the certificates to trust cannot be read ({exc}); check AWS_CA_BUNDLE"
        )
    said = _said(exc)
    if "CERTIFICATE_VERIFY_FAILED" in said or "doesn't match" in said:
        return StoreAddressError(
            f"the certificate of {where} is not trusted ({said}); set AWS_CA_BUNDLE to the file of "
            "the authority that signed it, and use the host name that it is for"
        )
    if "WRONG_VERSION_NUMBER" in said or "record layer" in said:
        return StoreAddressError(
            f"{where} does not speak TLS ({said}); begin FORNADA_S3_ENDPOINT_URL with http://"
        )
    return StoreUnavailableError(
        f"{where} broke off a TLS connection ({said}); try again, or check its certificate"
    )


def _why(exc: Exception) -> str:
    said = _said(exc)
    if any(words in said for words in _NO_NAME):
        return "its host name is not known"
    if isinstance(exc, EndpointConnectionError) and "refused" in said:
        return "it refuses the connection"
    if isinstance(exc, ConnectTimeoutError):
        return "no connection in time"
    return "no answer in time" if isinstance(exc, ReadTimeoutError) else type(exc).__name__


def _said(exc: Exception) -> str:
    cause = getattr(exc, "kwargs", {}).get("error") or exc
    return " ".join(str(cause).split())[:_MOST_CHARACTERS]
