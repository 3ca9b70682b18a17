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


def test_what_others_put_in_place_of_the_lists_is_removed(settings: Settings) -> None:
    channel = RedisCallChannel.from_settings(settings, most_bytes=1000)
    calls, answers = redis_keys.predict_calls("q"), redis_keys.predict_answers("c")
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:

        def put(*keys: str) -> None:
            for key in keys:
                client.set(key, "no list")

        put(calls)
        assert 0 == channel.waiting("q")
        put(calls)
        channel.ask("q", [b"a"])
        assert [b"a"] == channel.take("q", count=9, timeout_s=1)[0]
        put(calls)
        assert [] == channel.take("q", count=9, timeout_s=0.01)[0]

        put(answers)
        assert [] == channel.collect("c", count=9, timeout_s=0.01)
        # and the other client's answer comes once
        put(answers)
        channel.answer({"c": [b"1", b"2"], "d": [b"3"]})
        assert [b"1", b"2"] == channel.collect("c", count=9, timeout_s=1)
        assert [b"3"] == channel.collect("d", count=9, timeout_s=1)
