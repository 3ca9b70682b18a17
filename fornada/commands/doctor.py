"""`fornada doctor`: check everything that Fornada depends on, and say how to fix it."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import click

from fornada import keys
from fornada.commands.output import JSON_OPTION, print_json
from fornada.coordination.redis import RedisCoordination
from fornada.errors import FornadaError
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.opening import open_store

#: The oldest Redis that is tested; kombu needs 6.2.
_OLDEST_REDIS = (7, 2)
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": None}
#: Checks that roles contribute, as `module:function`, loaded by name because this layer knows no
#: role. Each takes the settings and a model or `None`, and yields findings.
_ROLE_CHECKS = ("worker.checks:model_checks",)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    status: Literal["ok", "warn", "fail", "skip"]
    detail: str


@click.command()
@click.option("--create-bucket", is_flag=True, help="Create the bucket first if it is missing.")
@click.option(
    "--model", metavar="NAME[:VERSION|@ALIAS]", help="The model to load and predict with."
)
@JSON_OPTION
def doctor(create_bucket: bool, model: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Check settings, broker, store and conditional writes, and predict once with a model.

    Exits 0 if no check fails, else 1.

    Example: fornada doctor --model fashion-mnist@prod
    """
    settings = Settings.from_env(os.environ)
    findings: list[Finding] = []
    for finding in examine(settings, create_bucket=create_bucket, model=model):
        findings.append(finding)
        if not as_json:
            mark = click.style(f"{finding.status:<4}", fg=_COLOURS[finding.status])
            click.echo(f"{mark} {finding.check}: {finding.detail}")
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    sys.exit(1 if any(finding.status == "fail" for finding in findings) else 0)


def examine(settings: Settings, *, create_bucket: bool, model: str | None) -> Iterator[Finding]:
    """Run every check; one that fails does not stop the others."""
    yield Finding(
        "settings",
        "ok",
        f"store {settings.s3_endpoint_url or 'AWS'}, bucket {settings.s3_bucket}, "
        f"queue {settings.queue}",
    )
    objects = open_store(settings)
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("broker", lambda: _broker(RedisCoordination.from_settings(settings))),
        ("store", lambda: _store(objects, create_bucket=create_bucket)),
    ]
    for target in _ROLE_CHECKS:
        module, function = target.split(":")
        role_check = getattr(importlib.import_module(module), function)
        checks.append(("model", lambda check=role_check: check(settings, model)))  # type: ignore[misc]  # a default binds the loop's value
    for name, check in checks:
        try:
            yield from check()
        except FornadaError as exc:
            yield Finding(name, "fail", str(exc))


def _broker(coordination: RedisCoordination) -> Iterator[Finding]:
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


def _store(objects: ObjectStore, *, create_bucket: bool) -> Iterator[Finding]:
    if create_bucket:
        objects.create_bucket()
    key, body = keys.probe(), os.urandom(1024)
    objects.put(key, body)
    try:
        consistent = objects.get(key).data == body and [o.key for o in objects.list(key)] == [key]
    finally:
        objects.delete(key)
    if not consistent:
        yield Finding(
            "store",
            "fail",
            f"{objects.endpoint} does not list or return what was just written; use a store "
            "with read-after-write consistency",
        )
        return
    yield Finding("store", "ok", f"{objects.endpoint} writes, reads, lists and deletes")
    if objects.conditional_writes:
        detail = "If-None-Match: * is honoured; the store decides outcomes"
    else:
        detail = "If-None-Match: * is ignored; outcomes are settled by reading back"
    yield Finding("conditional writes", "ok", detail)
