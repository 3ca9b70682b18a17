"""The queue as Celery keeps it in Redis."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from celery import Celery
from kombu import Producer
from kombu.exceptions import OperationalError
from redis import RedisError

from fornada.errors import MessageError
from fornada.queue.celery_config import celery_config
from fornada.queue.envelope import new_envelope, open_held
from fornada.queue.message import ShardMessage
from fornada.records import MAX_MESSAGE_BYTES
from fornada.redis_server.refusals import translate_error
from fornada.settings import Settings

#: Bundles in the first round trip, so that workers begin at once, and in each after it: of more,
#: little is gained, and each may have 87 KiB.
_FIRST_TRIP_BUNDLES, _LATER_TRIP_BUNDLES = 4, 100


class CelerySender:
    """A `Sender` of tasks as Celery takes them, over its connections."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    @classmethod
    def from_settings(cls, settings: Settings) -> "CelerySender":
        """A sender to the queue of `settings`; nothing is contacted yet."""
        app = Celery("fornada", set_as_current=False)
        app.conf.update(celery_config(settings))
        return cls(app)

    def enqueue(
        self,
        messages: Iterable[ShardMessage],
        *,
        together: int = 1,
        traces: Mapping[str, str] | None = None,
    ) -> None:
        """As `Sender`."""
        bundles = bundles_of(messages, together=together)
        try:
            with self._app.producer_or_acquire() as producer:
                send = producer.connection.ensure(
                    producer, self._send, **self._app.conf.task_publish_retry_policy
                )
                most = _FIRST_TRIP_BUNDLES
                while some := list(itertools.islice(bundles, most)):
                    send(some, producer, traces or {})
                    most = _LATER_TRIP_BUNDLES
        except OperationalError as exc:
            raise translate_error(exc) from exc

    def _send(
        self,
        bundles: Sequence[Sequence[ShardMessage]],
        producer: Producer,
        traces: Mapping[str, str],
    ) -> None:
        """Send bundles in one round trip. One that arrives twice runs once: its shard is leased."""
        queue = self._app.conf.task_default_queue
        envelopes = [
            # Jobs of one bundle were submitted together.
            new_envelope(bundle, queue=queue, traceparent=traces.get(bundle[0].job_id))
            for bundle in bundles
        ]
        # Celery's `send_task` takes 0.1 ms for each, and the guard keeps nothing of what it adds.
        with producer.channel.conn_or_acquire() as client:
            client.lpush(queue, *envelopes)

    def reserved(self) -> set[ShardMessage]:
        """As `Sender`."""
        try:
            with self._app.connection_for_read() as connection:
                connection.ensure_connection(**self._app.conf.task_publish_retry_policy)
                channel = connection.default_channel
                # By and by: others can file any number.
                held = channel.client.hscan_iter(channel.unacked_key, count=100)
                return {message for _tag, body in held for message in _messages_in(body)}
        except (OperationalError, OSError, RedisError) as exc:
            raise translate_error(exc) from exc


def bundles_of(messages: Iterable[ShardMessage], *, together: int) -> Iterator[list[ShardMessage]]:
    """Bundles of up to `together` messages and `MAX_MESSAGE_BYTES` of manifests."""
    bundle: list[ShardMessage] = []
    size_bytes = 0
    for message in messages:
        message_bytes = len(message.manifest or "")
        if bundle and (len(bundle) >= together or size_bytes + message_bytes > MAX_MESSAGE_BYTES):
            yield bundle
            bundle, size_bytes = [], 0
        bundle.append(message)
        size_bytes += message_bytes
    if bundle:
        yield bundle


def _messages_in(unacknowledged: bytes) -> list[ShardMessage]:
    """Our messages in an entry of kombu's hash of unacknowledged messages."""
    try:
        _queue, bundle = open_held(unacknowledged)
    except MessageError:
        # A worker quarantines it.
        return []
    return bundle.messages
