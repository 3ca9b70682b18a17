"""The channel of calls in lists of Redis; what is in it may be lost."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import redis

from fornada.errors import BacklogFullError
from fornada.redis_server import keys as redis_keys
from fornada.redis_server.address import redis_address
from fornada.redis_server.client import connected, milliseconds, translated
from fornada.settings import Settings

_T = TypeVar("_T")

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
        key = redis_keys.predict_calls(queue)
        waiting = self._on_list(
            key, lambda: self._ask(keys=[key], args=[MAX_WAITING, _FORGET_S, *frames])
        )
        if waiting < 0:
            raise BacklogFullError(
                f"{-waiting} calls wait for a worker already; call again later, start more "
                "workers, or submit a job"
            )

    @translated
    def take(self, queue: str, *, count: int, timeout_s: float) -> tuple[list[bytes], int]:
        key = redis_keys.predict_calls(queue)

        def take() -> Any:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.blmpop(timeout_s, 1, key, direction="LEFT", count=count)
                pipe.time()
                return pipe.execute()

        taken, time = self._on_list(key, take)
        return list(taken[1]) if taken else [], milliseconds(time)

    @translated
    def answer(self, frames: Mapping[str, Sequence[bytes]]) -> None:
        by_key = {redis_keys.predict_answers(client): some for client, some in frames.items()}
        told = self._push(by_key)
        for failure in told.values():
            if "WRONGTYPE" not in str(failure):
                raise failure
        if told:
            self._redis.delete(*told)
            self._push({key: by_key[key] for key in told})

    @translated
    def collect(self, client: str, *, count: int, timeout_s: float) -> list[bytes]:
        key = redis_keys.predict_answers(client)
        taken = self._on_list(
            key, lambda: self._redis.blmpop(timeout_s, 1, key, direction="LEFT", count=count)
        )
        return list(taken[1]) if taken else []

    @translated
    def waiting(self, queue: str) -> int:
        key = redis_keys.predict_calls(queue)
        return self._on_list(key, lambda: int(self._redis.llen(key)))

    @translated
    def time_ms(self) -> int:
        return milliseconds(self._redis.time())

    def _push(self, frames: Mapping[str, Sequence[bytes]]) -> dict[str, redis.ResponseError]:
        """Add answers by key; return the keys where Redis refuses."""
        with self._redis.pipeline(transaction=False) as pipe:
            for key, answers in frames.items():
                pipe.rpush(key, *answers)
                pipe.expire(key, _FORGET_S)
            told = pipe.execute(raise_on_error=False)[::2]
        found = zip(frames, told, strict=True)
        return {key: answer for key, answer in found if isinstance(answer, redis.ResponseError)}

    def _on_list(self, key: str, ask: Callable[[], _T]) -> _T:
        """The answer of `ask`, asked again without what others put there that is no list."""
        try:
            return ask()
        except redis.ResponseError as exc:
            if "WRONGTYPE" not in str(exc):
                raise
            self._redis.delete(key)
            return ask()
