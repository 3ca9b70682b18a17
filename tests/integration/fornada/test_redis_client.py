"""Clients of Redis that are part of a reference cycle, as in a web application."""

import gc
import socket
from collections.abc import Callable
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from fornada.redis_server.address import redis_address
from fornada.redis_server.client import connected
from fornada.settings import Settings
from gateway.auth.principal import Principal
from gateway.auth.rates import Rates

#: What `fileno` of a closed socket is.
_CLOSED = -1


class _Oldest:
    """The collector runs its finalizer before those of younger objects."""

    def __init__(self, found: list[int]) -> None:
        self._found = found
        self.sockets: list[socket.socket] = []
        self.others: list[Any] = []

    def __del__(self) -> None:
        self._found += [each.fileno() for each in self.sockets]


def _client(settings: Settings) -> tuple[object, redis.ConnectionPool]:
    client = connected(redis_address(settings))
    client.ping()
    return client, client.connection_pool


def _rates(settings: Settings) -> tuple[object, redis.ConnectionPool]:
    rates = Rates.from_settings(settings)
    rates.check(Principal(owner="ada", scopes=frozenset(), rate="9/second"))
    return rates, rates._limiter.storage.storage.connection_pool


@pytest.mark.parametrize("use", [_client, _rates])
def test_connections_are_closed_before_the_collector_meets_a_socket(
    redis_url: str, use: Callable[[Settings], tuple[object, redis.ConnectionPool]]
) -> None:
    # given an object in a cycle, and its open connection
    found: list[int] = []
    oldest = _Oldest(found)
    gc.collect()
    owner, pool = use(Settings(redis_url=SecretStr(redis_url)))
    oldest.sockets = [each._sock for each in pool._available_connections]
    oldest.others = [oldest, owner]
    assert 1 == len(oldest.sockets)

    # when
    del oldest, owner, pool
    gc.collect()

    # then
    assert [_CLOSED] == found
