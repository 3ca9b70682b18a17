"""Translation of boto3's errors into ours, each with the store's address and a remedy."""

from http import HTTPStatus
from ssl import SSLCertVerificationError
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    MetadataRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from fornada.errors import (
    BucketNotFoundError,
    StoreAddressError,
    StoreCredentialsError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
)
from fornada.storage.s3.address import CaBundleError
from fornada.storage.s3.credentials import CredentialsUnusableError
from fornada.storage.s3.limits import BROKEN_OFF, TooSlowError
from fornada.storage.s3.refusals.answers import meaning_of
from fornada.storage.s3.refusals.unanswered import NotS3Error, not_answered

#: Everything that boto3 raises or lets through from the layers below.
RAISED = (
    ClientError,
    BotoCoreError,
    CaBundleError,
    CredentialsUnusableError,
    SSLCertVerificationError,
    NotS3Error,
    TooSlowError,
    *BROKEN_OFF,
)

_MOST_CHARACTERS = 300
_NOT_FOUND = {"NotFound", "404"}
_EXISTS = {"PreconditionFailed", "412"}
_CONFLICT = {"ConditionalRequestConflict", "OperationAborted", "409"}
_NO_CHECKSUM = {"MissingContentMD5", "MissingUploadObjectWithObjectLockHeaders"}
_NEEDS_MORE = {"InvalidRequest", "InvalidArgument", "400"}
_UNKNOWN_CONDITION = {"NotImplemented", "501"}
_FAILED = {"InternalError", "500"}
_BEYOND = {"InvalidRange", "416"}
_OWN_BUCKET = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def translate_error(exc: Exception, *, endpoint: str, bucket: str, own_bucket: bool) -> StoreError:
    """Our error for one of boto3's about `bucket`, with a remedy.

    Its public text names neither the endpoint nor the bucket, nor what the store or boto3 said.
    """
    error = _translated(exc, f"object store {endpoint}", bucket=bucket, own_bucket=own_bucket)
    if isinstance(exc, ClientError):
        fact = meaning_of(_code(exc), status=_status(exc)).fact
        return error.with_public_text(f"the object store {fact} ({_code(exc)})")
    if error.may_pass_later:
        return error.with_public_text("the object store does not answer for now")
    return error.with_public_text("the workers' access to the object store is not set up right")


def _translated(exc: Exception, where: str, *, bucket: str, own_bucket: bool) -> StoreError:
    # Our keys are valid, so the parameter that boto3 rejects is the bucket.
    if isinstance(exc, ParamValidationError):
        setting = "FORNADA_S3_BUCKET" if own_bucket else "the s3:// address"
        return BucketNotFoundError(f"{bucket!r} is not the name of a bucket; check {setting}")
    if isinstance(exc, ClientError):
        return _answered(exc, where, bucket=bucket, own_bucket=own_bucket)
    if isinstance(exc, CredentialsUnusableError):
        return _no_credentials(exc.__cause__ or exc)
    return not_answered(exc, where)


def says_exists(exc: ClientError) -> bool:
    """Whether the store refused a conditional put because the key exists."""
    return _code(exc) in _EXISTS


def says_conflict(exc: ClientError) -> bool:
    """Whether the store could not yet say who created the object."""
    return _code(exc) in _CONFLICT


def says_checksum_is_missing(exc: ClientError) -> bool:
    """Whether the store refused a put for want of a checksum, as under Object Lock."""
    said = str(exc.response.get("Error", {}).get("Message", "")).lower()
    is_about = "content-md5" in said or "checksum" in said
    return _code(exc) in _NO_CHECKSUM or (_code(exc) in _NEEDS_MORE and is_about)


def says_unknown_condition(exc: ClientError) -> bool:
    """Whether the store refused a put because it does not support conditions."""
    return _code(exc) in _UNKNOWN_CONDITION


def says_range_is_beyond(exc: ClientError) -> bool:
    """Whether the object ends before the requested range."""
    return _code(exc) in _BEYOND


def says_it_failed(exc: ClientError) -> bool:
    """Whether the store failed inside."""
    return _code(exc) in _FAILED or _status(exc) == HTTPStatus.INTERNAL_SERVER_ERROR


def obstructed(key: str, obstacle: str, *, endpoint: str) -> StoreRefusedError:
    """Our error for a put that another object is in the way of."""
    fact = (
        f"cannot write {key!r}, because the object {obstacle!r} is in the way: this store keeps "
        "objects as files in folders"
    )
    remedy = f"delete {obstacle!r}, which a console may have made for a folder"
    error = StoreRefusedError(f"object store {endpoint} {fact}; {remedy}")
    return error.with_public_text(f"the object store {fact}")


def obstructed_by_folder(key: str, *, endpoint: str) -> StoreRefusedError:
    """Our error for a put that a folder of the key's name is in the way of."""
    fact = (
        f"cannot write {key!r}, because a folder of that name is in the way: this store keeps "
        "objects as files in folders"
    )
    remedy = f"somebody put an object below {key + '/'!r}; delete that folder where the store is"
    error = StoreRefusedError(f"object store {endpoint} {fact}; {remedy}")
    return error.with_public_text(f"the object store {fact}")


def says_region_is_missing(exc: ClientError) -> bool:
    """Whether the store refused to create a bucket without its region's name."""
    return _code(exc) == "IllegalLocationConstraintException"


def says_own_bucket(exc: ClientError) -> bool:
    """Whether the store refused to create a bucket because it exists."""
    return _code(exc) in _OWN_BUCKET


def _no_credentials(exc: BaseException) -> StoreError:
    if isinstance(exc, NoCredentialsError):
        return StoreCredentialsError(
            "no credentials for the object store; set FORNADA_S3_ACCESS_KEY_ID and "
            "FORNADA_S3_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if _passes(exc):
        return StoreUnavailableError(
            f"the credentials for the object store cannot be renewed for now ({_line(exc)}); try "
            "again, or check the service that gives them"
        )
    if isinstance(exc, ProfileNotFound):
        remedy = "check AWS_PROFILE, and the profile in ~/.aws/config"
    elif isinstance(exc, PartialCredentialsError):
        remedy = "set both the access key and its secret"
    elif isinstance(exc, OSError):
        remedy = "check AWS_WEB_IDENTITY_TOKEN_FILE and the files in ~/.aws"
    else:
        remedy = "check the role, profile or web identity that gives them"
    return StoreCredentialsError(
        f"no usable credentials for the object store ({_line(exc)}); {remedy}"
    )


def _passes(exc: BaseException) -> bool:
    """Whether the service that renews credentials may do so later."""
    if isinstance(exc, ClientError):
        return meaning_of(_code(exc), status=_status(exc)).error is StoreUnavailableError
    return isinstance(exc, ConnectionClosedError | HTTPClientError | MetadataRetrievalError)


def _answered(exc: ClientError, where: str, *, bucket: str, own_bucket: bool) -> StoreError:
    code, error = _code(exc), exc.response.get("Error", {})
    if code in _NOT_FOUND and exc.operation_name != "GetObject":
        # All that a HEAD, or an answer without a body, says of a bucket.
        code = "NoSuchBucket"
    meaning = meaning_of(code, status=_status(exc))
    said, remedy = _line(error.get("Message", "")), meaning.remedy
    if code == "NoSuchBucket":
        remedy = (
            "create it (`fornada doctor --create-bucket`) or set FORNADA_S3_BUCKET"
            if own_bucket
            else "check the s3:// address"
        )
    metadata: Any = exc.response.get("ResponseMetadata", {})
    region = error.get("Region") or metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    right = region or error.get("Endpoint")
    if meaning.error is StoreAddressError and right:
        remedy += f", which is {_line(right)}"
    return meaning.error(
        f"{where} {meaning.fact} ({f'{code}: {said}' if said else code}), bucket {bucket!r}; "
        f"{remedy}"
    )


def _line(said: object) -> str:
    return " ".join(str(said).split())[:_MOST_CHARACTERS]


def _status(exc: ClientError) -> int:
    metadata: Any = exc.response.get("ResponseMetadata", {})
    return int(metadata.get("HTTPStatusCode", 0))


def _code(exc: ClientError) -> str:
    """The error code in the store's answer."""
    response: Any = exc.response
    return str(response.get("Error", {}).get("Code", ""))
