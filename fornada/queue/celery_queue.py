"""Put messages on the queue through Celery, which is named nowhere else in the producer."""

import base64
import json
from collections.abc import Iterable, Iterator

from celery import Celery
from kombu.exceptions import OperationalError

from fornada import keys
from fornada.errors import BrokerError, MessageError
from fornada.queue.celery_config import celery_config
from fornada.queue.message import ShardMessage
from fornada.records import MAX_MESSAGE_BYTES
from fornada.settings import Settings


class CelerySender:
    """`Sender` through Celery: the task is called by name, no task module is imported."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    @classmethod
    def from_settings(cls, settings: Settings) -> "CelerySender":
        """A sender to the queue that the settings name; nothing is contacted yet."""
        app = Celery("fornada", set_as_current=False)
        app.conf.update(celery_config(settings))
        return cls(app)

    def enqueue(self, messages: Iterable[ShardMessage], *, together: int = 1) -> None:
        """Enqueue `messages`, in order, so many at most in one.

        Raises:
            BrokerError: Some may be on the queue, and some not.
        """
        try:
            for bundle in bundles_of(messages, together=together):
                self._app.send_task(
                    keys.TASK_RUN_SHARD,
                    args=[message.model_dump(mode="json", exclude_none=True) for message in bundle],
                    # Celery's own shows the images; nobody reads it.
                    argsrepr="",
                )
        except OperationalError as exc:
            raise _unreachable(exc) from exc

    def reserved(self) -> set[ShardMessage]:
        """What workers have taken from the queue and not acknowledged, begun or not.

        Raises:
            BrokerError: The queue cannot be reached.
        """
        try:
            with self._app.connection_for_read() as connection:
                channel = connection.default_channel
                bodies = channel.client.hvals(channel.unacked_key)
        except (OperationalError, *self._app.connection_for_read().connection_errors) as exc:
            raise _unreachable(exc) from exc
        return {message for body in bodies for message in _messages_in(body)}


def bundles_of(messages: Iterable[ShardMessage], *, together: int) -> Iterator[list[ShardMessage]]:
    """Up to `together` messages at a time, and no more than a message of the queue may have."""
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
    """Ours, in what kombu's Redis transport keeps of a message until it is acknowledged."""
    try:
        message, _exchange, _routing_key = json.loads(unacknowledged)
        arguments = json.loads(base64.b64decode(message["body"]))[0]
        return [ShardMessage.from_plain(argument, where="message") for argument in arguments]
    except (LookupError, MessageError, TypeError, ValueError):
        # Somebody else's, which a worker drops.
        return []


def _unreachable(exc: Exception) -> BrokerError:
    return BrokerError(
        f"the queue cannot be reached ({exc}); check FORNADA_REDIS_URL and that the server "
        "runs (`fornada up` starts one)"
    )
