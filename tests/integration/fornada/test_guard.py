"""The guard where kombu reads the queue, on a real server: messages come through, junk is kept."""

import base64
import json
import logging
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from kombu import Queue
from pydantic import SecretStr

from fornada.events import Event, Events, MessageQuarantined
from fornada.queue import quarantine as quarantine_module
from fornada.queue.envelope import MAX_ENVELOPE_BYTES, new_envelope
from fornada.queue.message import ShardMessage
from fornada.queue.quarantine import Quarantine
from fornada.redis_server import keys as redis_keys
from fornada.settings import Settings
from worker.app import create_app

from ...junk import EXAMPLES, GOOD, envelope
from ...redis_proxy import RedisProxy

UNACKED, INDEX = "fornada:unacked", "fornada:unacked-index"


class Consumer:
    """kombu's consumer on a worker's transport, without a worker."""

    def __init__(self, settings: Settings) -> None:
        self.taken_count = 0
        self.told: list[MessageQuarantined] = []
        self.quarantine = Quarantine.from_settings(settings)
        self.messages: list[Any] = []
        self.app = create_app(settings, on_message=self._count, events=Events(self._hear))
        self.connection = self.app.connection_for_read()
        self.channel = self.connection.default_channel
        self._consumer = self.connection.Consumer(
            [Queue(settings.queue)], callbacks=[lambda _, message: self.messages.append(message)]
        )
        self._consumer.consume()

    def take(self, count: int) -> list[Any]:
        """The arguments of the next `count` messages, unacknowledged."""
        before = len(self.messages)
        while len(self.messages) < before + count:
            self.connection.drain_events(timeout=10)
        return [argument for message in self.messages[before:] for argument in message.payload[0]]

    def _count(self) -> None:
        self.taken_count += 1

    def _hear(self, event: Event) -> None:
        assert isinstance(event, MessageQuarantined)
        self.told.append(event)


@pytest.fixture
def consumer(settings: Settings) -> Iterator[Consumer]:
    consumer = Consumer(settings)
    yield consumer
    consumer.connection.close()


@pytest.fixture
def client(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def test_messages_come_through_whatever_lies_between_them(
    consumer: Consumer, client: "redis.Redis", settings: Settings
) -> None:
    good = [{**GOOD, "shard": shard} for shard in range(3)]
    elements = [json.dumps(envelope(message)) for message in good]
    client.lpush(settings.queue, elements[0], *EXAMPLES.values(), *elements[1:])
    connections = client.info("stats")["total_connections_received"]

    taken = consumer.take(3)

    assert good == taken
    kept = consumer.quarantine.entries()
    sizes = [min(len(raw), MAX_ENVELOPE_BYTES + 1) for raw in EXAMPLES.values()]
    assert sizes == [entry.size_bytes for entry in reversed(kept)]
    assert len(EXAMPLES) + 3 == consumer.taken_count
    # None of it costs a connection, but for the first of the quarantine's own and of kombu's pool.
    assert client.info("stats")["total_connections_received"] <= connections + 2
    # The log has one line, the listeners each event.
    assert len(EXAMPLES) == len(consumer.told)
    assert 1 == len([event for event in consumer.told if event.is_logged])
    # Acknowledged messages alone are left.
    for message in consumer.messages:
        message.ack()
    assert (0, 0, 0) == (client.llen(settings.queue), client.hlen(UNACKED), client.zcard(INDEX))


def test_nothing_of_a_strangers_envelope_reaches_celery(
    consumer: Consumer, client: "redis.Redis", settings: Settings
) -> None:
    stranger = envelope(
        headers={"id": "theirs", "argsrepr": "theirs", "x": "theirs"},
        properties={"delivery_tag": "theirs", "reply_to": "theirs", "priority": 9},
    )
    client.lpush(settings.queue, json.dumps(stranger))

    consumer.take(1)

    (message,) = consumer.messages
    assert "(not shown)" == message.headers["argsrepr"]
    assert "theirs" not in repr((message.headers, message.properties, message.delivery_tag))


def test_of_an_element_that_is_too_large_the_beginning_is_held(
    consumer: Consumer, client: "redis.Redis", settings: Settings
) -> None:
    # Not a multiple of any size of a read
    huge = bytes(range(251)) * 200_001
    client.lpush(settings.queue, json.dumps(envelope()), huge, json.dumps(envelope()))

    tracemalloc.start()
    taken = consumer.take(2)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [GOOD, GOOD] == taken
    assert peak_bytes < len(huge) / 5
    (entry,) = consumer.quarantine.entries()
    assert MAX_ENVELOPE_BYTES + 1 == entry.size_bytes
    assert huge[:1024] == base64.b64decode(entry.start)


def test_a_message_that_is_popped_is_guarded_as_well(
    consumer: Consumer, client: "redis.Redis", settings: Settings
) -> None:
    client.lpush(settings.queue, b"x", json.dumps(envelope()), b"[]")

    popped = [consumer.channel.basic_get(settings.queue) for _ in range(2)]

    assert [[GOOD], None] == [message and message.payload[0] for message in popped]
    assert 2 == len(consumer.quarantine.entries())


def test_taken_messages_return_to_their_queue_and_what_is_none_to_the_quarantine(
    consumer: Consumer, client: "redis.Redis", settings: Settings
) -> None:
    # given what dead workers took, of two queues, and what others filed there
    message = ShardMessage(job_id="job", shard=1)
    whole = json.loads(new_envelope([message], queue="other"))
    headers = {**whole["headers"], "timelimit": [None, None], "retries": 0, "eta": None}
    filed = {
        "ours": [whole, "", settings.queue],
        "as a producer wrote it": [{**whole, "headers": headers}, "", settings.queue],
        "another's": [whole, "", "other"],
        "a key of Redis": [whole, "", "fornada:unacked"],
        "no envelope": [{"x": 1}, "", settings.queue],
        "no list": 5,
        b"\xff\x00": [whole, "", None],
    }
    junk = {"deep": b"[" * 100_000, "bytes": b"\xff"}
    client.hset(UNACKED, mapping={tag: json.dumps(held) for tag, held in filed.items()} | junk)
    client.zadd(INDEX, dict.fromkeys([*filed, *junk, "nothing there"], 1.0))

    # when the sweep finds them
    consumer.channel.qos.restore_visible(num=100, interval=1)

    # then nothing is filed, and both queues have theirs
    assert (0, 0) == (client.hlen(UNACKED), client.zcard(INDEX))
    assert [message.model_dump(mode="json", exclude_none=True)] * 2 == consumer.take(2)
    assert 1 == client.llen("other")
    assert 6 == len(consumer.quarantine.entries())


def test_a_consumer_that_stops_returns_what_it_took_though_others_wrote_over_it(
    settings: Settings, client: "redis.Redis"
) -> None:
    consumer = Consumer(settings)
    client.lpush(settings.queue, *[json.dumps(envelope({**GOOD, "shard": n})) for n in range(3)])
    consumer.take(3)
    client.hset(UNACKED, consumer.messages[1].delivery_tag, b"x")

    consumer.connection.close()

    assert (0, 0) == (client.hlen(UNACKED), client.zcard(INDEX))
    assert 2 == client.llen(settings.queue)
    assert [1] == [entry.size_bytes for entry in consumer.quarantine.entries()]


def test_keys_of_another_type_stop_no_consumer(
    consumer: Consumer,
    client: "redis.Redis",
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for key in (UNACKED, INDEX, redis_keys.quarantine(settings.queue)):
        client.set(key, "x")
    client.lpush(settings.queue, b"x", *[json.dumps(envelope()) for _ in range(3)])

    taken = consumer.take(3)
    for message in consumer.messages:
        message.ack()
    consumer.channel.qos.restore_visible(num=100, interval=1)

    assert [GOOD] * 3 == taken
    assert consumer.channel.qos.can_consume()
    # One line each, however often.
    assert 2 == len([record for record in caplog.records if record.levelno >= logging.WARNING])


def test_an_acknowledgement_that_meets_a_lost_connection_is_told_of_in_a_line(
    settings: Settings, client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    client.lpush(settings.queue, *[json.dumps(envelope()) for _ in range(2)])
    with RedisProxy(settings.redis_url.get_secret_value()) as proxy:
        url = SecretStr(proxy.url)
        consumer = Consumer(settings.model_copy(update={"redis_url": url}))
        consumer.take(2)
        proxy.refuse()

        for message in consumer.messages:
            message.ack_log_error(
                logging.getLogger("celery"), consumer.connection.connection_errors
            )

        (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert "message not acknowledged; it may come again" in warning.getMessage()
        assert warning.exc_info is None
        assert 2 == client.hlen(UNACKED)
        proxy.accept()
        consumer.connection.close()
    assert (0, 0, 2) == (client.hlen(UNACKED), client.zcard(INDEX), client.llen(settings.queue))


def test_the_quarantine_is_bounded_and_tells_who_wrote(
    settings: Settings, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine_module, "MAX_ENTRIES", 3)
    quarantine = Quarantine.from_settings(settings)

    for number in range(5):
        quarantine.add(b"\x1b[31m%d" % number + b"x" * 10_000, reason="r" * 10_000)
    forged = '{"at":"2026-01-01T00:00:00Z","reason":"","size_bytes":3,"start":"abc"}'
    client.lpush(redis_keys.quarantine(settings.queue), b"of somebody else", forged)

    newest, *_ = kept = quarantine.entries()
    assert 1 == len(kept)
    assert newest.text.startswith("\x1b[31m4xxx")
    assert (10_006, 1024, 500) == (
        newest.size_bytes,
        len(newest.text),
        len(newest.reason),
    )
    assert client.strlen(redis_keys.quarantine("other")) == 0
    assert 5 == quarantine.drop()
    assert [] == quarantine.entries()
