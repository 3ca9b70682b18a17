"""`fornada doctor`: check everything that Fornada depends on, and say how to fix it."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import chain

import click

from fornada.commands.doctor.broker import broker_findings
from fornada.commands.doctor.clocks import clock_findings
from fornada.commands.doctor.finding import Finding
from fornada.commands.doctor.jobs import job_findings
from fornada.commands.doctor.store import show_store, store_findings
from fornada.commands.output import JSON_OPTION, print_json, say
from fornada.coordination.redis import RedisCoordination
from fornada.coordination.server_clock import Server
from fornada.errors import FornadaError
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.opening import open_store
from fornada.trust.input_prefixes import InputPrefixes

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": None}
#: Checks that roles contribute, as `module:function`, loaded by name because this layer knows no
#: role. Each takes the settings and a model or `None`, and yields findings.
_ROLE_CHECKS = ("worker.checks:model_checks",)
_GATEWAY_CHECKS = "producer.remote.checks:gateway_checks"


@click.command()
@click.option("--create-bucket", is_flag=True, help="Create the bucket first if it is missing.")
@click.option(
    "--adopt", is_flag=True, help="Have Redis belong to this bucket, which moved on purpose."
)
@click.option(
    "--model", metavar="NAME[:VERSION|@ALIAS]", help="The model to load and predict with."
)
@click.option(
    "--store-report", is_flag=True, help="Try all that the store can do, and show it as a table."
)
@JSON_OPTION
def doctor(
    create_bucket: bool,  # noqa: FBT001 - click passes flags by name
    adopt: bool,  # noqa: FBT001 - as above
    model: str | None,
    store_report: bool,  # noqa: FBT001 - as above
    as_json: bool,  # noqa: FBT001 - as above
) -> None:
    """Check settings, broker, store and conditional writes, and predict once with a model.

    With FORNADA_URL, check the gateway and what its key allows, and the rest if that is set too.

    Exits 0 if no check fails, else 1.

    Example: fornada doctor --model fashion-mnist@prod
    """
    settings = Settings.from_env(os.environ)
    if create_bucket or adopt or model is not None or store_report:
        settings.require_deployment("what this option checks")
    if store_report:
        show_store(settings, as_json=as_json)
        return
    findings: list[Finding] = []
    found = examine(settings, create_bucket=create_bucket, adopt=adopt, model=model)
    for finding in chain(_gateway_findings(settings), found):
        findings.append(finding)
        if not as_json:
            mark, colour = f"{finding.status:<4} ", _COLOURS[finding.status]
            say(f"{finding.check}: {finding.detail}", label=mark, colour=colour)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    sys.exit(1 if any(finding.status == "fail" for finding in findings) else 0)


def examine(
    settings: Settings, *, create_bucket: bool, adopt: bool = False, model: str | None
) -> Iterator[Finding]:
    """Run every check; one that fails does not stop the others."""
    if settings.names_only_a_gateway:
        return
    objects = open_store(settings)
    yield Finding(
        "settings",
        "ok",
        f"store {settings.s3_endpoint_url or 'AWS'}, bucket {settings.s3_bucket}, "
        f"queue {settings.queue}",
    )
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("inputs", lambda: _input_findings(settings)),
        ("broker", lambda: broker_findings(settings)),
        ("store", lambda: store_findings(objects, create_bucket=create_bucket)),
        ("jobs", lambda: job_findings(settings, objects, adopt=adopt)),
        ("clocks", lambda: clock_findings(_servers(settings, objects))),
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


def _gateway_findings(settings: Settings) -> Iterator[Finding]:
    if settings.url is None:
        return
    module, function = _GATEWAY_CHECKS.split(":")
    try:
        yield from getattr(importlib.import_module(module), function)(settings)
    except FornadaError as exc:
        yield Finding("gateway", "fail", str(exc))


def _input_findings(settings: Settings) -> Iterator[Finding]:
    prefixes = InputPrefixes.from_settings(settings)
    detail = f"jobs read {prefixes}, and what was submitted; FORNADA_INPUT_PREFIXES says where"
    yield Finding("inputs", "ok", detail)


def _servers(settings: Settings, objects: ObjectStore) -> dict[str, Server]:
    return {"Redis": RedisCoordination.from_settings(settings), "store": objects}
