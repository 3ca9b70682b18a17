"""What each error code of S3 means: our class, what is wrong, and the remedy."""

from http import HTTPStatus
from typing import NamedTuple

from fornada.errors import (
    BucketNotFoundError,
    IntegrityError,
    ObjectArchivedError,
    ObjectNameError,
    ObjectNotFoundError,
    StoreAccessError,
    StoreAddressError,
    StoreClockError,
    StoreCredentialsError,
    StoreError,
    StoreQuotaError,
    StoreRefusedError,
    StoreUnavailableError,
)


class Meaning(NamedTuple):
    """Of an error code."""

    error: type[StoreError]
    fact: str
    remedy: str


_KEYS = "check FORNADA_S3_ACCESS_KEY_ID and FORNADA_S3_SECRET_ACCESS_KEY"
_RENEW = "renew the credentials, or let a profile, role or web identity do so"
_REGION = "set FORNADA_S3_REGION and FORNADA_S3_ENDPOINT_URL to the bucket's region"

_WRONG_KEYS = Meaning(StoreCredentialsError, "does not accept the access key", _KEYS)
_EXPIRED = Meaning(StoreCredentialsError, "says that the credentials have expired", _RENEW)
_FORBIDDEN = Meaning(
    StoreAccessError,
    "refuses the permission",
    "let the owner of the bucket allow it in the bucket's policy; " + _KEYS,
)
_BUSY = Meaning(StoreUnavailableError, "is overloaded", "try again, or send fewer requests")
_FAILED = Meaning(StoreUnavailableError, "failed", "try again, or check the store's log")
_NO_OBJECT = Meaning(ObjectNotFoundError, "has no such object", "check its key")
_NO_BUCKET = Meaning(BucketNotFoundError, "has no such bucket", "create it, or check its name")
_WRONG_REGION = Meaning(StoreAddressError, "is not where the bucket is", _REGION)
_WRONG_NAME = Meaning(
    ObjectNameError,
    "does not take the object's key",
    "copy the object to a shorter key of plain characters",
)
_FULL = Meaning(StoreQuotaError, "says that a quota is used up", "delete objects, or raise it")
_ARCHIVED = Meaning(
    ObjectArchivedError,
    "has archived the object",
    "restore it, or copy it to a storage class that reads at once",
)
_NO_KMS_KEY = Meaning(
    ObjectArchivedError,
    "cannot use the object's encryption key",
    "enable the key, and allow it to these credentials",
)
_CLOCK = Meaning(
    StoreClockError,
    "says that this machine's clock is wrong",
    "set the clock, for instance by NTP",
)
_BUCKET_IN_USE = Meaning(
    StoreRefusedError, "says that the bucket's name is taken", "choose another FORNADA_S3_BUCKET"
)
_LOCKED = Meaning(
    StoreRefusedError,
    "refuses the request",
    "check the bucket's Object Lock, encryption and policy",
)
_TOO_LARGE = Meaning(
    StoreRefusedError,
    "takes no object as large as this one",
    "lower FORNADA_MAX_SHARD_BYTES, or raise the store's limit",
)
_UNKNOWN_OPERATION = Meaning(
    StoreRefusedError, "does not know the request", "use a store that speaks S3"
)
_SHORT = Meaning(IntegrityError, "has fewer bytes than the range asks for", "submit it again")
_REFUSED = Meaning(StoreRefusedError, "refuses the request", "check the store's log")

MEANINGS = {
    # Passing.
    **dict.fromkeys(
        (
            "InternalError",
            "RequestTimeout",
            "RequestTimeoutException",
            "OperationAborted",
            "ConditionalRequestConflict",
            "ServiceUnavailable",
            "IncompleteBody",
            # A put in parts was cleaned away, and begins anew.
            "NoSuchUpload",
            "BadDigest",
            "XAmzContentSHA256Mismatch",
            "XAmzContentChecksumMismatch",
            "TooEarly",
            "BadGateway",
            "GatewayTimeout",
        ),
        _FAILED,
    ),
    **dict.fromkeys(
        (
            "SlowDown",
            "SlowDownRead",
            "SlowDownWrite",
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequests",
            "TooManyRequestsException",
            "BandwidthLimitExceeded",
            "RequestLimitExceeded",
            "KMS.ThrottlingException",
        ),
        _BUSY,
    ),
    # Credentials and permission.
    **dict.fromkeys(
        (
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "NotSignedUp",
            "UnrecognizedClientException",
        ),
        _WRONG_KEYS,
    ),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"), _EXPIRED
    ),
    **dict.fromkeys(
        (
            "AccessDenied",
            "AccessDeniedException",
            "AllAccessDisabled",
            "AccountProblem",
            "Forbidden",
        ),
        _FORBIDDEN,
    ),
    # Clock.
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    # Address.
    **dict.fromkeys(
        (
            "PermanentRedirect",
            "TemporaryRedirect",
            "Redirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "InvalidRegion",
        ),
        _WRONG_REGION,
    ),
    # Bucket.
    "NoSuchBucket": _NO_BUCKET,
    "InvalidBucketName": Meaning(
        BucketNotFoundError, "does not take the bucket's name", "check FORNADA_S3_BUCKET"
    ),
    "NoSuchAccessPoint": _NO_BUCKET,
    "BucketAlreadyExists": _BUCKET_IN_USE,
    "BucketAlreadyOwnedByYou": _BUCKET_IN_USE,
    "BucketNotEmpty": _BUCKET_IN_USE,
    # Object.
    **dict.fromkeys(("NoSuchKey", "NoSuchVersion"), _NO_OBJECT),
    **dict.fromkeys(
        ("KeyTooLongError", "InvalidURI", "InvalidObjectName", "XMinioInvalidObjectName"),
        _WRONG_NAME,
    ),
    "XMinioInvalidResourceName": _WRONG_NAME,
    "InvalidObjectState": _ARCHIVED,
    **dict.fromkeys(
        ("KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException"),
        _NO_KMS_KEY,
    ),
    "InvalidRange": _SHORT,
    # Quota.
    **dict.fromkeys(
        (
            "QuotaExceeded",
            "XMinioAdminBucketQuotaExceeded",
            "TooManyBuckets",
            "InsufficientStorage",
            "XMinioStorageFull",
        ),
        _FULL,
    ),
    # The request itself.
    "EntityTooLarge": _TOO_LARGE,
    "InvalidRequest": _LOCKED,
    "MissingContentMD5": _LOCKED,
    "MissingUploadObjectWithObjectLockHeaders": _LOCKED,
    "ObjectLockConfigurationNotFoundError": _LOCKED,
    "NotImplemented": _UNKNOWN_OPERATION,
    **dict.fromkeys(
        (
            "InvalidArgument",
            "InvalidDigest",
            "MalformedXML",
            "MissingContentLength",
            "EntityTooSmall",
            "InvalidPart",
            "InvalidPartOrder",
            "InvalidStorageClass",
            "MetadataTooLarge",
            "PreconditionFailed",
            "UserKeyMustBeSpecified",
        ),
        _REFUSED,
    ),
}
_BY_STATUS = {
    301: _WRONG_REGION,
    302: _WRONG_REGION,
    307: _WRONG_REGION,
    308: _WRONG_REGION,
    401: _WRONG_KEYS,
    403: _FORBIDDEN,
    404: _NO_OBJECT,
    408: _FAILED,
    413: _TOO_LARGE,
    416: _SHORT,
    425: _FAILED,
    429: _BUSY,
    501: _UNKNOWN_OPERATION,
    503: _BUSY,
    507: _FULL,
}


def meaning_of(code: str, *, status: int) -> Meaning:
    """What an answer means: by its code, which the store may not give, and else by its status."""
    known = MEANINGS.get(code)
    if known is not None:
        return known
    # boto3 puts the status in place of the code of an answer without a body.
    status = int(code) if code.isdecimal() else status
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    permanent = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return _REFUSED if permanent else _FAILED
