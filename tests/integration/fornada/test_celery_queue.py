"""Messages as they arrive in a real queue."""

import redis
from pydantic import SecretStr

from fornada.queue.celery_queue import CelerySender
from fornada.queue.envelope import open_envelope
from fornada.queue.message import ShardMessage
from fornada.settings import Settings

from ...redis_proxy import RedisProxy

SHARDS = 250


def test_messages_go_many_in_a_round_trip_and_again_if_its_answer_is_lost(redis_url: str) -> None:
    messages = [ShardMessage(job_id="job", shard=number) for number in range(SHARDS)]
    with RedisProxy(redis_url) as proxy:
        sender = CelerySender.from_settings(Settings(redis_url=SecretStr(proxy.url)))
        proxy.lose_reply_to(b"LPUSH")

        sender.enqueue(iter(messages))

        assert proxy.lost.is_set()
    with redis.Redis.from_url(redis_url) as server:
        arrived = [open_envelope(raw) for raw in reversed(server.lrange("fornada", 0, -1))]
    shards = [message.shard for ((message,), _traceparent) in arrived]
    # The last copies of all are whole and in order.
    assert list(range(SHARDS)) == shards[-SHARDS:]
    # What came before them is the beginning of a trip of many.
    again = len(shards) - SHARDS
    assert 1 < again <= 100
    assert list(range(again)) == shards[:again]
