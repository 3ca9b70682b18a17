"""The connection to Redis or Valkey, whose errors become ours."""

import functools
import weakref
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from fornada.redis_server.bounded_reads import bounded
from fornada.redis_server.refusals import translate_error
from fornada.redis_server.url import RedisAddress

_P = ParamSpec("_P")
_R = TypeVar("_R")


def connected(
    address: RedisAddress, *, decode_responses: bool = True, most_bytes: int | None = None
) -> "redis.Redis":
    """A client of a server; makes no contact yet.

    Args:
        address: From `redis_address`.
        decode_responses: Whether values are text.
        most_bytes: Of longer values, this many bytes and one more are kept.
    """
    pool = pool_of(address, decode_responses=decode_responses, most_bytes=most_bytes)
    client = redis.Redis.from_pool(pool)
    disconnect_with(client, pool)
    return client


def pool_of(
    address: RedisAddress, *, decode_responses: bool, most_bytes: int | None = None
) -> redis.ConnectionPool:
    """Connections to a server, to be given to `disconnect_with` with whoever uses them.

    Makes no contact yet. Arguments are those of `connected`.
    """
    return address.pool(
        wrap=None if most_bytes is None else partial(bounded, most_bytes=most_bytes),
        socket_timeout=5,
        socket_connect_timeout=5,
        # A few tries within a second; a caller that can wait longer loops. Timeouts are not
        # retried: redis-py nests its retries, which adds up to 90 s.
        retry=Retry(
            ExponentialWithJitterBackoff(base=0.05, cap=0.5),
            3,
            supported_errors=(redis.ConnectionError,),
        ),
        health_check_interval=15,
        decode_responses=decode_responses,
        # Lets bitmaps, which are not text, survive decoding.
        encoding_errors="surrogateescape",
    )


def disconnect_with(owner: object, pool: redis.ConnectionPool) -> None:
    """Close the connections of `pool` once `owner`, to which it has no reference, is garbage.

    redis-py's `__del__` does so too late where the owner is part of a reference cycle: a full
    collection may meet a socket that is younger than its connection first, and warns of it.
    """
    weakref.finalize(owner, pool.disconnect).atexit = False


def milliseconds(time: tuple[int, int]) -> int:
    """The answer to TIME, in ms since the epoch."""
    seconds, microseconds = time
    return seconds * 1000 + microseconds // 1000


def translated(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Translate Redis's errors into ours."""

    @functools.wraps(method)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except redis.RedisError as exc:
            raise translate_error(exc) from exc

    return call
