"""How often a key may call: counted in Redis, by all gateways together."""

from functools import lru_cache
from typing import Self

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from fornada.errors import UsageError
from fornada.redis_server.address import redis_address
from fornada.redis_server.client import disconnect_with, pool_of, translated
from fornada.settings import Settings
from gateway.auth.errors import RateExceededError
from gateway.auth.principal import Principal


class Rates:
    """Counts requests by owner. Safe to share between threads."""

    def __init__(self, storage: Storage) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Counts in Redis; makes no contact yet."""
        pool = pool_of(redis_address(settings), decode_responses=False)
        # The address is the pool's; this one only says which kind of server it is.
        storage = RedisStorage("redis://", connection_pool=pool, key_prefix="fornada:rate")
        disconnect_with(storage, pool)
        return cls(storage)

    @classmethod
    def in_memory(cls) -> Self:
        """Counts in this process alone."""
        return cls(MemoryStorage())

    @translated
    def check(self, caller: Principal) -> None:
        """Count a request.

        Raises:
            RateExceededError: The caller has made as many as it may.
            BrokerError: Redis cannot be reached.
        """
        if caller.rate is None:
            return
        if not self._limiter.hit(rate_of(caller.rate), caller.owner):
            raise RateExceededError(
                f"key {caller.owner} may make {caller.rate} requests; wait, or ask for more"
            )


@lru_cache(maxsize=1024)
def rate_of(text: str) -> RateLimitItem:
    """A rate, such as `100/second`.

    Raises:
        UsageError: It is none.
    """
    try:
        return parse(text)
    except ValueError:
        raise UsageError(f"rate {text!r} is none; write it as 100/second or 5000/hour") from None
