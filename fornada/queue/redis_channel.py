"""kombu's Redis transport, connected as FORNADA_REDIS_URL says, with all its keys under ours."""

from typing import Any

import redis
from kombu.transport import redis as kombu_redis

from fornada.redis_server.url import RedisAddress

#: The transport option that carries the `RedisAddress`.
ADDRESS = "address"


class AddressedChannel(kombu_redis.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel whose connections come from a `RedisAddress`, like those of redis-py."""

    # One ACL rule, ~fornada*, covers these and our own.
    keyprefix_fanout = "fornada:kombu:fanout:{db}."
    unacked_key = "fornada:unacked"
    unacked_index_key = "fornada:unacked-index"
    unacked_mutex_key = "fornada:unacked-mutex"

    #: One list a queue.
    priority_steps = (0,)

    #: Set by kombu from the transport options.
    address: RedisAddress

    #: Of the pool for everything but the wait for messages.
    _pooled: Any = None

    from_transport_options = (*kombu_redis.Channel.from_transport_options, ADDRESS)

    def _get_pool(self, asynchronous: bool = False) -> redis.ConnectionPool:  # noqa: FBT001, FBT002 - kombu's own
        self.keyprefix_fanout = self.keyprefix_fanout.format(db=self.address.options.get("db", 0))
        return self.address.pool(
            wrap=self._told_when_cut if asynchronous else None,
            socket_timeout=self.socket_timeout,
            socket_connect_timeout=self.socket_connect_timeout,
            socket_keepalive=self.socket_keepalive,
            health_check_interval=self.health_check_interval,
        )

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's own
        """A client of the pool; kombu's own makes one for each message and acknowledgement."""
        if asynchronous:
            return super()._create_client(asynchronous)
        if self._pooled is None or self._pooled.connection_pool is not self.pool:
            # A tenth of what a message costs the event loop.
            self._pooled = super()._create_client()
        return self._pooled

    def _queue_bind(self, *_: object) -> None:
        """Nothing: messages go to the list of the queue's name."""

    def _told_when_cut(self, connection_class: type[Any]) -> type:
        channel = self

        class ToldWhenCut(connection_class):  # type: ignore[misc]  # any of redis-py's classes
            """A connection that the event loop stops watching once it is cut."""

            def disconnect(self, *args: Any, **kwargs: Any) -> None:
                super().disconnect(*args, **kwargs)
                if channel._registered:
                    channel._on_connection_disconnect(self)

        return ToldWhenCut


class AddressedTransport(kombu_redis.Transport):  # type: ignore[misc]  # kombu has no types
    """The transport of `AddressedChannel`."""

    Channel = AddressedChannel
    #: kombu keeps the URL whole, and shows it in logs.
    can_parse_url = True

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:  # noqa: ARG002, FBT001, FBT002 - kombu's own
        """The URL for logs: `RedisAddress.label`, which holds no secret."""
        return uri
