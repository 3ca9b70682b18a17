"""Where a worker reads the queue: whatever lies there, only messages come through.

kombu and Celery end a process over what they cannot decode, so the guard stands before them, where
the bytes come from Redis. They get an envelope written anew.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import redis
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from fornada.errors import BrokerError, MessageError
from fornada.events import SILENT, Events, MessageQuarantined
from fornada.logs import get_logger
from fornada.queue.envelope import MAX_ENVELOPE_BYTES, new_envelope, open_envelope, open_held
from fornada.queue.quarantine import Quarantine
from fornada.queue.redis_channel import AddressedChannel, AddressedTransport
from fornada.redis_server.bounded_reads import bounded
from fornada.repeated import Repeated

log = get_logger(__name__)

#: The transport option that carries the `Guard`.
GUARD = "guard"
_NOT_TRACKED = "taken messages not kept track of; the reconciler finds lost shards"
#: Between two looks at a queue that is no list.
_PAUSE_S = 1.0


class Guard:
    """Tells messages from anything else, which goes to the quarantine."""

    def __init__(
        self,
        *,
        queue: str,
        quarantine: Quarantine,
        on_message: Callable[[], None] = lambda: None,
        events: Events = SILENT,
    ) -> None:
        """`on_message` is called for whatever is taken from the queue."""
        self._queue = queue
        self._quarantine = quarantine
        self._on_message = on_message
        self._events = events
        self._repeated = Repeated()

    def admit(self, raw: bytes) -> bytes | None:
        """A new envelope with the messages of `raw`, which came from the queue; else `None`."""
        self._on_message()
        try:
            messages, traceparent = open_envelope(raw)
            return new_envelope(messages, queue=self._queue, traceparent=traceparent)
        except MessageError as exc:
            self.refuse(raw, str(exc))
            return None

    def refuse(self, raw: bytes, reason: str) -> None:
        """Put `raw` into the quarantine."""
        try:
            self._quarantine.add(raw, reason=reason)
        except BrokerError as exc:
            self.log("quarantine not written", exc)
        more_count = self._repeated.meet("quarantined")
        self._events.tell(
            MessageQuarantined(
                queue=self._queue,
                reason=reason,
                size_bytes=len(raw),
                is_too_large=len(raw) > MAX_ENVELOPE_BYTES,
                count=None if more_count is None else more_count + 1,
            )
        )

    def log(self, failure: str, exc: Exception) -> None:
        """Write a warning, unless the same was written of late."""
        self._repeated.log(log.warning, failure, error=str(exc))

    @contextmanager
    def whatever_the_keys_hold(self, consequence: str = _NOT_TRACKED) -> Iterator[None]:
        """Go on where a key of kombu's holds another type than its own, which has a consequence."""
        try:
            yield
        except redis.ResponseError as exc:
            if "WRONGTYPE" not in str(exc):
                raise
            self.log(consequence, exc)


class GuardedQoS(kombu_redis.QoS):  # type: ignore[misc]  # kombu has no types
    """Taken messages, which Redis keeps until they are acknowledged, and others can write too."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """As kombu's."""
        with self.channel.guard.whatever_the_keys_hold():
            super().append(message, delivery_tag)
            return
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """As kombu's, but a connection that is lost is told of in a line.

        The message stays taken here, and returns to the queue when this channel closes, or when
        another worker finds it overdue. Celery would log a traceback, and do no more.
        """
        guard: Guard = self.channel.guard
        try:
            with guard.whatever_the_keys_hold():
                self._remove_from_indices(delivery_tag).execute()
        except (redis.ConnectionError, redis.TimeoutError) as exc:
            guard.log("message not acknowledged; it may come again", exc)
            return
        virtual.QoS.ack(self, delivery_tag)

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """As kombu's."""
        with self.channel.guard.whatever_the_keys_hold():
            super().restore_visible(*args, **kwargs)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's own
        """Return what is filed under `tag` to its queue if it is a message, else quarantine it."""
        refused: list[tuple[bytes, str]] = []

        def restore(pipe: Any) -> None:
            # Runs again if another worker wrote meanwhile.
            refused.clear()
            raw = pipe.hget(self.unacked_key, tag)
            pipe.multi()
            self._remove_from_indices(tag, pipe)
            if raw is None:
                return
            try:
                queue, (messages, traceparent) = open_held(raw)
            except MessageError as exc:
                refused.append((raw, str(exc)))
                return
            push = pipe.lpush if leftmost else pipe.rpush
            push(queue, new_envelope(messages, queue=queue, traceparent=traceparent))

        guard: Guard = self.channel.guard
        with guard.whatever_the_keys_hold(), self.channel.conn_or_acquire(client) as connected:
            connected.transaction(restore, self.unacked_key)
        for raw, reason in refused:
            guard.refuse(raw, reason)


class GuardedClient(redis.Redis):
    """A client whose pops return messages only."""

    def __init__(self, *, guard: Guard, **kwargs: Any) -> None:
        self._guard = guard
        super().__init__(**kwargs)

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        """As redis-py's. To kombu, a queue with anything else is an empty one, which it polls."""
        read = partial(super().parse_response, connection, command_name, **options)
        if command_name != "BRPOP":
            return read()
        with self._guard.whatever_the_keys_hold("queue not read; delete its key, which is no list"):
            response = read()
            if not response:
                return None
            key, raw = response
            admitted = self._guard.admit(raw)
            return None if admitted is None else (key, admitted)
        # It answers at once, not after a second as an empty one.
        time.sleep(_PAUSE_S)
        return None

    def rpop(self, name: Any, count: int | None = None) -> Any:  # noqa: ARG002 - kombu pops one
        """As redis-py's, for one element."""
        while (raw := super().rpop(name)) is not None:
            admitted = self._guard.admit(cast("bytes", raw))
            if admitted is not None:
                return admitted
        return None


class GuardedChannel(AddressedChannel):
    """A channel that reads messages only."""

    QoS = GuardedQoS
    #: The rest is restored at the next sweep: others can file any number.
    unacked_restore_limit = 100

    #: Set by kombu from the transport options.
    guard: Guard

    from_transport_options = (*AddressedChannel.from_transport_options, GUARD)

    def _get_client(self) -> Callable[..., GuardedClient]:
        return partial(GuardedClient, guard=self.guard)

    def _told_when_cut(self, connection_class: type[Any]) -> type:
        return bounded(super()._told_when_cut(connection_class), most_bytes=MAX_ENVELOPE_BYTES)

    def _restore(self, message: Any, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's own
        self.qos.restore_by_tag(message.delivery_tag, leftmost=leftmost)


class GuardedTransport(AddressedTransport):
    """The transport of `GuardedChannel`."""

    Channel = GuardedChannel
