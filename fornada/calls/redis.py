"""The channel of calls in lists of Redis; what is in it may be lost."""

from collections.abc import Mapping, Sequence
from typing import Any

import redis

from fornada.errors import BacklogFullError
from fornada.redis_server import keys as redis_keys
from fornada.redis_server.address import redis_address
from fornada.redis_server.client import connected, milliseconds, translated
from fornada.settings import Settings

#: Most calls that wait for a worker, each of up to 1 MiB; further ones are refused.
MAX_WAITING = 1000
#: When Redis drops calls not taken and answers not collected.
_FORGET_S = 600

#: Adds all calls or none.
_ASK = """
local waiting = redis.call('LLEN', KEYS[1])
if waiting >= tonumber(ARGV[1]) then return -waiting end
redis.call('RPUSH', KEYS[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return waiting
"""


class RedisCallChannel:
    """`CallChannel` in lists of Redis or Valkey."""

    def __init__(self, *, client: "redis.Redis") -> None:
        self._redis: Any = client
        self._ask = client.register_script(_ASK)

    @classmethod
    def from_settings(cls, settings: Settings, *, most_bytes: int) -> "RedisCallChannel":
        """The channel on the server that the settings name; makes no contact yet.

        Args:
            settings: The deployment's.
            most_bytes: Of a frame; what is longer is none, and is not read whole.

        Raises:
            ConfigError: FORNADA_REDIS_URL is not a URL.
        """
        address = redis_address(settings)
        return cls(client=connected(address, decode_responses=False, most_bytes=most_bytes))

    @translated
    def ask(self, queue: str, frames: Sequence[bytes]) -> None:
        waiting = self._ask(
            keys=[redis_keys.predict_calls(queue)], args=[MAX_WAITING, _FORGET_S, *frames]
        )
        if waiting < 0:
            raise BacklogFullError(
                f"{-waiting} calls wait for a worker already; call again later, start more "
                "workers, or submit a job"
            )

    @translated
    def take(self, queue: str, *, count: int, timeout_s: float) -> tuple[list[bytes], int]:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.blmpop(
                timeout_s, 1, redis_keys.predict_calls(queue), direction="LEFT", count=count
            )
            pipe.time()
            taken, time = pipe.execute()
        return list(taken[1]) if taken else [], milliseconds(time)

    @translated
    def answer(self, frames: Mapping[str, Sequence[bytes]]) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            for client, answers in frames.items():
                key = redis_keys.predict_answers(client)
                pipe.rpush(key, *answers)
                pipe.expire(key, _FORGET_S)
            pipe.execute()

    @translated
    def collect(self, client: str, *, count: int, timeout_s: float) -> list[bytes]:
        key = redis_keys.predict_answers(client)
        taken = self._redis.blmpop(timeout_s, 1, key, direction="LEFT", count=count)
        return list(taken[1]) if taken else []

    @translated
    def waiting(self, queue: str) -> int:
        return int(self._redis.llen(redis_keys.predict_calls(queue)))

    @translated
    def time_ms(self) -> int:
        return milliseconds(self._redis.time())
