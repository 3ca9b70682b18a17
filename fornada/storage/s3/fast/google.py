"""Google's own condition of a put, signed in Google's own dialect.

Google Cloud Storage speaks S3, ignores `If-None-Match` on a put, and refuses its own condition
beside any header of Amazon's, which S3's signature needs.
"""

import hashlib
import hmac
import urllib.parse
from datetime import UTC, datetime
from typing import Any

from fornada.storage.s3.fast.signing import Request

_ALGORITHM = "GOOG4-HMAC-SHA256"
_UNSIGNED = "UNSIGNED-PAYLOAD"


def is_google(url: str) -> bool:
    """Whether the URL is of Google Cloud Storage."""
    if "googleapis.com" not in url:
        return False
    labels = (urllib.parse.urlsplit(url).hostname or "").split(".")
    return labels[-2:] == ["googleapis", "com"] and "storage" in labels


def put_if_absent(url: str, data: bytes, credentials: Any, *, now: datetime) -> Request:
    """A signed put of `data` that Google refuses with 412 if the object exists.

    Args:
        url: Of the object; its path needs no escapes.
        data: The object.
        credentials: The HMAC key of a service account: `access_key` and `secret_key`.
        now: The time.
    """
    parts = urllib.parse.urlsplit(url)
    time = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "host": parts.netloc,
        "x-goog-content-sha256": _UNSIGNED,
        "x-goog-date": time,
        "x-goog-if-generation-match": "0",
    }
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"PUT\n{parts.path}\n\n{lines}\n{names}\n{_UNSIGNED}"
    scope = [time[:8], "auto", "storage", "goog4_request"]
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join([_ALGORITHM, time, "/".join(scope), digest])
    key = f"GOOG4{credentials.secret_key}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = "/".join([credentials.access_key, *scope])
    authorization = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, "
    sent = {name: value for name, value in headers.items() if name != "host"}
    sent["Authorization"] = f"{authorization}Signature={signature}"
    return Request(method="PUT", url=url, headers=sent, data=data)
