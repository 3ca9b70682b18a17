"""Calls and answers in lists of a real Redis, in which others write too."""

import redis

from fornada.calls.redis import RedisCallChannel
from fornada.redis_server import keys as redis_keys
from fornada.settings import Settings


def test_a_frame_that_is_too_long_is_not_read_whole(settings: Settings) -> None:
    channel = RedisCallChannel.from_settings(settings, most_bytes=1000)
    lists = redis_keys.predict_calls("q"), redis_keys.predict_answers("c")
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        for name in lists:
            client.rpush(name, b"a", b"x" * 5_000_000, b"b" * 1000)

    taken, _at_ms = channel.take("q", count=9, timeout_s=1)

    assert [b"a", b"x" * 1001, b"b" * 1000] == taken
    assert taken == channel.collect("c", count=9, timeout_s=1)
