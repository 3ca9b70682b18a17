"""What the server is, how it is configured, and which rights we lack on it."""

from dataclasses import dataclass
from typing import Any

import redis

from fornada.errors import ConfigError
from fornada.redis_server.refusals import NO_CLUSTER

#: A key of no job.
_KEY = "fornada:doctor"
#: A right of `refusals.RIGHTS` → a command that needs it and changes nothing.
_TRIALS = {
    "+@read": ("GET", _KEY),
    "+@write": ("DEL", _KEY),
    "+@scripting": ("EVAL", "return 1", "0"),
    "+@transaction": ("UNWATCH",),
    "+@pubsub": ("PUBLISH", _KEY, ""),
    "+time": ("TIME",),
    "+info": ("INFO", "server"),
}


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server's own account; a hosted one may withhold some."""

    name: str
    version: str
    #: `unknown` where the server does not say.
    maxmemory_policy: str
    append_only_file: bool


def read_facts(client: Any) -> ServerFacts:
    """The server's name, version and configuration.

    Raises:
        ConfigError: It is a node of Redis Cluster.
        redis.RedisError: It cannot be reached or refuses us.
    """
    refuse_cluster(client)
    info = client.info()
    # Valkey calls itself 7.2.4 for clients that ask for a Redis version.
    is_valkey = "valkey_version" in info
    return ServerFacts(
        name="Valkey" if is_valkey else "Redis",
        version=str(info.get("valkey_version" if is_valkey else "redis_version", "unknown")),
        maxmemory_policy=str(info.get("maxmemory_policy", "unknown")),
        append_only_file=bool(info.get("aof_enabled")),
    )


def refuse_cluster(client: Any) -> None:
    """Check that the server is no node of Redis Cluster; needs no right but a connection's.

    Raises:
        ConfigError: It is one.
        redis.RedisError: It cannot be reached or refuses us.
    """
    answer = client.execute_command("HELLO")
    # A list of names and values where the connection speaks RESP2.
    pairs = (
        answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
    )
    if pairs.get("mode") == "cluster":
        raise ConfigError(NO_CLUSTER)


def missing_rights(client: Any) -> list[str]:
    """Those of `refusals.RIGHTS` that our user lacks."""
    with client.pipeline(transaction=False) as pipe:
        for command in _TRIALS.values():
            pipe.execute_command(*command)
        answers = pipe.execute(raise_on_error=False)
    missing = [
        _missing(answer, right)
        for right, answer in zip(_TRIALS, answers, strict=True)
        if isinstance(answer, redis.exceptions.NoPermissionError)
    ]
    return list(dict.fromkeys(missing))


def _missing(refusal: Exception, right: str) -> str:
    text = str(refusal)
    if "channel" in text:
        return "&fornada*"
    return "~fornada*" if "key" in text else right
