"""What `fornada doctor` asks Redis or Valkey."""

from collections.abc import Iterator

from fornada.commands.doctor.finding import Finding
from fornada.coordination.redis import RedisCoordination

#: The oldest Redis that is tested; kombu needs 6.2.
_OLDEST_REDIS = (7, 2)


def broker_findings(coordination: RedisCoordination) -> Iterator[Finding]:
    """Whether the server answers, is new enough, and keeps what it is given.

    Raises:
        BrokerError: It cannot be reached.
    """
    facts = coordination.server_facts()
    known = [int(part) for part in facts["version"].split(".")[:2] if part.isdigit()]
    server = f"{facts['name']} {facts['version']}"
    if facts["name"] == "Redis" and known and tuple(known) < _OLDEST_REDIS:
        yield Finding("broker", "warn", f"{server} is older than 7.2; upgrade it")
    else:
        yield Finding("broker", "ok", f"{server} answers")
    if facts["maxmemory_policy"] not in {"noeviction", "unknown"}:
        yield Finding(
            "broker memory",
            "warn",
            f"maxmemory-policy is {facts['maxmemory_policy']}, which may evict the queue; "
            "set it to noeviction",
        )
    if facts["append_only_file"] == "off":
        yield Finding(
            "broker persistence",
            "warn",
            "no append-only file; a restart empties the queue, which costs time but no "
            "results; set appendonly yes",
        )
    leader = coordination.leader()
    if leader is None:
        yield Finding("workers", "warn", "no worker has been seen; start one with `fornada worker`")
    else:
        yield Finding("workers", "ok", f"{leader} leads the reconciler")
