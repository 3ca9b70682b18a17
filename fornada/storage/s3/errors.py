"""Translation of boto3's errors into ours, each with the store's address and a remedy."""

from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
)

from fornada.errors import (
    BucketNotFoundError,
    ObjectNotFoundError,
    StoreAccessError,
    StoreError,
    StoreUnavailableError,
)
from fornada.storage.s3.limits import BROKEN_OFF, TooSlowError

#: Everything that boto3 raises or lets through from the layers below.
RAISED = (ClientError, BotoCoreError, TooSlowError, *BROKEN_OFF)

_ABSENT = {"NoSuchKey", "404", "NotFound"}
_REFUSED = {
    "AccessDenied",
    "403",
    "Forbidden",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
}
_EXISTS = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
_UNKNOWN_CONDITION = {"NotImplemented", "501"}
_BEYOND = {"InvalidRange", "416"}
_OWN_BUCKET = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def translate_error(exc: Exception, *, endpoint: str, bucket: str, own_bucket: bool) -> StoreError:
    """Our error for one of boto3's about `bucket`, with a remedy."""
    where = f"object store {endpoint}"
    if isinstance(exc, NoCredentialsError):
        return StoreAccessError(
            f"no credentials for {where}; set FORNADA_S3_ACCESS_KEY_ID and "
            "FORNADA_S3_SECRET_ACCESS_KEY"
        )
    # Our keys are valid, so the parameter that boto3 rejects is the bucket.
    if isinstance(exc, ParamValidationError):
        setting = "FORNADA_S3_BUCKET" if own_bucket else "the s3:// address"
        return BucketNotFoundError(f"{bucket!r} is not the name of a bucket; check {setting}")
    if isinstance(exc, ClientError):
        return _answered(exc, where, bucket=bucket, own_bucket=own_bucket)
    return _unavailable(exc, where)


def says_exists(exc: ClientError) -> bool:
    """Whether the store refused a conditional put because the key exists."""
    return _code(exc) in _EXISTS


def says_unknown_condition(exc: ClientError) -> bool:
    """Whether the store refused a put because it does not support conditions."""
    return _code(exc) in _UNKNOWN_CONDITION


def says_range_is_beyond(exc: ClientError) -> bool:
    """Whether the object ends before the requested range."""
    return _code(exc) in _BEYOND


def says_own_bucket(exc: ClientError) -> bool:
    """Whether the store refused to create a bucket because it exists."""
    return _code(exc) in _OWN_BUCKET


def _answered(exc: ClientError, where: str, *, bucket: str, own_bucket: bool) -> StoreError:
    code = _code(exc)
    if code == "NoSuchBucket":
        remedy = (
            "create it (`fornada doctor --create-bucket`) or set FORNADA_S3_BUCKET"
            if own_bucket
            else "check the s3:// address"
        )
        return BucketNotFoundError(f"bucket {bucket!r} does not exist on {where}; {remedy}")
    if code in _ABSENT:
        return ObjectNotFoundError(f"no such object in bucket {bucket!r} on {where}")
    if code in _REFUSED:
        return StoreAccessError(
            f"{where} refuses the credentials or the permission ({code}); check "
            "FORNADA_S3_ACCESS_KEY_ID, FORNADA_S3_SECRET_ACCESS_KEY and the bucket's policy"
        )
    return StoreUnavailableError(
        f"{where} failed ({code}: {exc.response.get('Error', {}).get('Message', '')}); "
        "try again, or check the store's log"
    )


def _unavailable(exc: Exception, where: str) -> StoreUnavailableError:
    # boto3 wraps an error that it meets while it sends a body.
    cause = getattr(exc, "kwargs", {}).get("error")
    if isinstance(too_slow := cause or exc, TooSlowError):
        return StoreUnavailableError(
            f"{where} is too slow ({too_slow}); try again, or check the network"
        )
    if isinstance(exc, BROKEN_OFF):
        return StoreUnavailableError(
            f"{where} broke off its answers repeatedly ({type(exc).__name__}); try again, or check "
            "the network"
        )
    return StoreUnavailableError(
        f"{where} cannot be reached ({type(exc).__name__}); check FORNADA_S3_ENDPOINT_URL "
        "and that the store runs (`fornada up` starts one)"
    )


def _code(exc: ClientError) -> str:
    """The error code in the store's answer."""
    response: Any = exc.response
    return str(response.get("Error", {}).get("Code", ""))
