"""Redis's errors as ours: what is wrong, and what to do about it."""

import re
from collections.abc import Iterator

import redis
from redis.exceptions import (
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
from redis.sentinel import MasterNotFoundError

from fornada.errors import BrokerError

#: What the user in FORNADA_REDIS_URL may do, as `ACL SETUSER` takes it; no more is needed.
RIGHTS = (
    "~fornada* &fornada* -@all +@read +@write +@connection +@pubsub +@scripting +@transaction "
    "-@dangerous +time +info"
)
NO_CLUSTER = (
    "the server is a node of Redis Cluster, which is not supported: one script decides over keys "
    "of several slots; give a single server, or several behind Sentinel (sentinel://)"
)

_REMEDIES: tuple[tuple[type[redis.RedisError], str], ...] = (
    (NoPermissionError, f"give the user in FORNADA_REDIS_URL these rights: {RIGHTS}"),
    (redis.AuthenticationError, "check user and password in FORNADA_REDIS_URL"),
    (ReadOnlyError, "this is a replica: give the master, or Sentinel (sentinel://)"),
    (OutOfMemoryError, "raise its maxmemory, or let the workers empty the queue"),
    (BusyLoadingError, "it is still reading its data; try again"),
    (MasterNotFoundError, "check the service's name and that a master is up"),
)
_LOOPBACK = re.compile(r"\b(127\.0\.0\.1|localhost):\d")
_CLUSTER = (MovedError, ClusterDownError, ClusterCrossSlotError)


def translate_error(exc: BaseException) -> BrokerError:
    """Our error for one of Redis's or kombu's; never with the URL, which holds the password."""
    for cause in _chain(exc):
        if isinstance(cause, _CLUSTER):
            return BrokerError(NO_CLUSTER)
        for kind, remedy in _REMEDIES:
            if isinstance(cause, kind):
                return BrokerError(f"Redis refuses us ({cause}); {remedy}")
    if "CERTIFICATE_VERIFY_FAILED" in str(exc):
        return BrokerError(
            f"Redis is not trusted ({exc}); give its authority's certificate with "
            "?ssl_ca_certs=/path/ca.pem, and the host name for which it was made"
        )
    # redis-py and kombu name the address. `fornada up` starts a server on this machine alone.
    starts_one = " (`fornada up` starts one)" if _LOOPBACK.search(str(exc)) else ""
    return BrokerError(
        f"Redis cannot be reached or failed ({type(exc).__name__}: {exc}); check FORNADA_REDIS_URL "
        f"and that the server runs{starts_one}"
    )


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    """The exception and its causes; kombu wraps redis-py's."""
    while exc is not None:
        yield exc
        exc = exc.__cause__
