"""Checksums of puts, for buckets that take none without, as under Object Lock."""

import base64
import hashlib

from botocore.exceptions import ClientError

_CODES = {"MissingContentMD5", "MissingUploadObjectWithObjectLockHeaders"}
_UNCLEAR_CODES = {"InvalidRequest", "InvalidArgument", "400"}


def md5_base64(data: bytes) -> str:
    """The value of `Content-MD5`, which every S3 server knows."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def says_checksum_is_missing(exc: ClientError) -> bool:
    """Whether the store refused a put for want of a checksum."""
    error = exc.response.get("Error", {})
    said = str(error.get("Message", "")).lower()
    code = str(error.get("Code", ""))
    return code in _CODES or (
        code in _UNCLEAR_CODES and ("content-md5" in said or "checksum" in said)
    )
