"""Translation of boto3's errors into ours, each with the store's address and a remedy."""

from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    CredentialRetrievalError,
    InvalidConfigError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)

from fornada.errors import (
    BucketNotFoundError,
    StoreAddressError,
    StoreCredentialsError,
    StoreError,
)
from fornada.storage.s3.answers import meaning_of
from fornada.storage.s3.limits import BROKEN_OFF, TooSlowError
from fornada.storage.s3.unanswered import NotS3Error, not_answered

#: Everything that boto3 raises or lets through from the layers below.
RAISED = (ClientError, BotoCoreError, NotS3Error, TooSlowError, *BROKEN_OFF)

_OF_CREDENTIALS = (
    ConfigParseError,
    CredentialRetrievalError,
    InvalidConfigError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)
_NEEDS_MORE = {"InvalidRequest", "InvalidArgument", "400"}
_MOST_CHARACTERS = 300
_EXISTS = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
_UNKNOWN_CONDITION = {"NotImplemented", "501"}
_BEYOND = {"InvalidRange", "416"}
_OWN_BUCKET = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def translate_error(exc: Exception, *, endpoint: str, bucket: str, own_bucket: bool) -> StoreError:
    """Our error for one of boto3's about `bucket`, with a remedy."""
    where = f"object store {endpoint}"
    # Our keys are valid, so the parameter that boto3 rejects is the bucket.
    if isinstance(exc, ParamValidationError):
        setting = "FORNADA_S3_BUCKET" if own_bucket else "the s3:// address"
        return BucketNotFoundError(f"{bucket!r} is not the name of a bucket; check {setting}")
    if isinstance(exc, ClientError):
        return _answered(exc, where, bucket=bucket, own_bucket=own_bucket)
    if isinstance(exc, _OF_CREDENTIALS):
        return credentials_error(exc)
    return not_answered(exc, where)


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


def says_checksum_is_missing(exc: ClientError) -> bool:
    """Whether the store refused a put for want of a checksum, as under Object Lock."""
    said = str(exc.response.get("Error", {}).get("Message", "")).lower()
    is_about = "content-md5" in said or "checksum" in said
    return _code(exc) == "MissingContentMD5" or (_code(exc) in _NEEDS_MORE and is_about)


def credentials_error(exc: Exception) -> StoreCredentialsError:
    """Our error for one that was met while credentials were searched for or renewed."""
    said = " ".join(str(exc).split())[:_MOST_CHARACTERS]
    if isinstance(exc, NoCredentialsError):
        return StoreCredentialsError(
            "no credentials for the object store; set FORNADA_S3_ACCESS_KEY_ID and "
            "FORNADA_S3_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if isinstance(exc, ProfileNotFound):
        remedy = "check AWS_PROFILE, and the profile in ~/.aws/config"
    elif isinstance(exc, PartialCredentialsError):
        remedy = "set both the access key and its secret"
    elif isinstance(exc, OSError):
        remedy = "check AWS_WEB_IDENTITY_TOKEN_FILE and the files in ~/.aws"
    else:
        remedy = "check the role, profile or web identity that gives them"
    return StoreCredentialsError(f"no usable credentials for the object store ({said}); {remedy}")


def _answered(exc: ClientError, where: str, *, bucket: str, own_bucket: bool) -> StoreError:
    code, error = _code(exc), exc.response.get("Error", {})
    metadata: Any = exc.response.get("ResponseMetadata", {})
    meaning = meaning_of(code, status=metadata.get("HTTPStatusCode", 0))
    said = " ".join(str(error.get("Message", "")).split())[:_MOST_CHARACTERS]
    remedy = meaning.remedy
    if code == "NoSuchBucket":
        remedy = (
            "create it (`fornada doctor --create-bucket`) or set FORNADA_S3_BUCKET"
            if own_bucket
            else "check the s3:// address"
        )
    region = error.get("Region") or metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    right = region or error.get("Endpoint")
    if meaning.error is StoreAddressError and right:
        remedy += f", which is {right}"
    return meaning.error(
        f"{where} {meaning.fact} ({f'{code}: {said}' if said else code}), bucket {bucket!r}; "
        f"{remedy}"
    )


def _code(exc: ClientError) -> str:
    """The error code in the store's answer."""
    response: Any = exc.response
    return str(response.get("Error", {}).get("Code", ""))
