"""What `fornada doctor` asks Redis or Valkey."""

from collections.abc import Iterator

from fornada.commands.doctor.finding import Finding
from fornada.coordination.redis import RedisCoordination
from fornada.redis_server.address import redis_address
from fornada.redis_server.facts import ServerFacts
from fornada.redis_server.refusals import RIGHTS
from fornada.redis_server.url import UNVERIFIED
from fornada.settings import Settings

#: The oldest Redis that is tested; kombu needs 6.2.
_OLDEST_REDIS = (7, 2)


def broker_findings(settings: Settings) -> Iterator[Finding]:
    """Whether the server answers, lets us do all we need, and keeps what it is given.

    Raises:
        ConfigError: It is a node of Redis Cluster.
        BrokerError: It cannot be reached.
    """
    coordination = RedisCoordination.from_settings(settings)
    coordination.refuse_cluster()
    missing = coordination.missing_rights()
    if missing:
        yield Finding(
            "broker rights",
            "fail",
            f"the user in FORNADA_REDIS_URL lacks {' '.join(missing)}; with a name and a password: "
            f"ACL SETUSER NAME on >PASSWORD {RIGHTS}",
        )
        return
    if redis_address(settings).is_unverified:
        yield Finding("broker certificate", "warn", UNVERIFIED)
    yield from _configuration(coordination.server_facts())
    leader = coordination.leader()
    if leader is None:
        yield Finding("workers", "warn", "no worker has been seen; start one with `fornada worker`")
        return
    yield Finding("workers", "ok", f"{leader.holder} leads the reconciler")
    if leader.lease_s not in {None, settings.lease_s}:
        yield Finding(
            "leases",
            "warn",
            f"FORNADA_LEASE_S is {settings.lease_s:g} here and {leader.lease_s:g} in the worker "
            "that leads, so that shards may run twice; set the same everywhere",
        )


def _configuration(facts: ServerFacts) -> Iterator[Finding]:
    known = [int(part) for part in facts.version.split(".")[:2] if part.isdigit()]
    server = f"{facts.name} {facts.version}"
    if facts.name == "Redis" and known and tuple(known) < _OLDEST_REDIS:
        yield Finding("broker", "warn", f"{server} is older than 7.2; upgrade it")
    else:
        yield Finding("broker", "ok", f"{server} answers")
    if facts.maxmemory_policy not in {"noeviction", "unknown"}:
        yield Finding(
            "broker memory",
            "warn",
            f"maxmemory-policy is {facts.maxmemory_policy}, which may evict the queue; "
            "set it to noeviction",
        )
    if not facts.append_only_file:
        yield Finding(
            "broker persistence",
            "warn",
            "no append-only file; a restart empties the queue, which costs time but no "
            "results; set appendonly yes",
        )
