"""`fornada models list`, `show`, `verify`, `diff` and `export`: the commands that only read."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from fornada import logs
from fornada.commands.output import JSON_OPTION, print_json, print_table, say
from fornada.errors import MessageError, ModelUnusableError
from fornada.records import AliasMove
from fornada.settings import Settings
from model_store.difference import Difference, differences
from model_store.export import check_version, export_version
from model_store.manifest import ModelManifest
from model_store.store import ModelStore

#: Metrics that a list of models shows, the first that a model has.
_QUALITIES = {"test_accuracy": "accuracy", "test_mean_absolute_error": "mean absolute error"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedModel:
    """A model in a list, with its newest version."""

    name: str
    versions: list[int]
    newest: int
    digest: str
    aliases: dict[str, int]
    inputs: list[Any]
    outputs: list[Any]
    metrics: dict[str, float]
    created_at: datetime


def listed_models() -> tuple[list[ListedModel], dict[str, str]]:
    """The models of the store; and name of one that cannot be read -> why."""
    store = store_from_env()
    found: list[ListedModel] = []
    unreadable: dict[str, str] = {}
    for name in store.names():
        try:
            newest = store.resolve(name)
            found.append(
                ListedModel(
                    name=newest.name,
                    versions=store.versions(name),
                    newest=newest.version,
                    digest=newest.digest,
                    aliases=store.aliases(name),
                    metrics=newest.metrics,
                    created_at=newest.created_at,
                    **tensors_json(newest),
                )
            )
        except (MessageError, ModelUnusableError) as exc:
            unreadable[name] = str(exc)
    return found, unreadable


def print_models(
    found: Sequence[ListedModel], unreadable: Mapping[str, str], *, as_json: bool
) -> None:
    """Print models, and why some cannot be read."""
    if as_json:
        lines = [{**asdict(each), "created_at": each.created_at.isoformat()} for each in found]
        broken = [{"name": name, "error": why} for name, why in unreadable.items()]
        print_json({"models": [*lines, *broken]})
        return
    if not found and not unreadable:
        say("no models yet; `fornada train` publishes one")
        return
    rows: list[tuple[object, ...]] = [
        (
            f"{each.name}:{each.newest}",
            len(each.versions),
            " ".join(f"@{alias}→{version}" for alias, version in sorted(each.aliases.items())),
            _quality(each.metrics),
            f"{each.created_at:%F %T}Z",
        )
        for each in found
    ]
    rows += [(name, "", "", f"cannot be read: {why}", "") for name, why in unreadable.items()]
    print_table(rows, header=("model", "versions", "aliases", "quality", "published"))


@click.command()
@click.argument("model", metavar="NAME[:VERSION|@ALIAS]")
@JSON_OPTION
def show(model: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Show one version: its inputs and outputs, its quality, how it was made.

    Example: fornada models show fashion-mnist@prod
    """
    store = store_from_env()
    manifest = store.resolve(model)
    targets = store.aliases(manifest.name)
    history = {alias: store.alias_history(manifest.name, alias) for alias in sorted(targets)}
    aliases = [alias for alias, version in targets.items() if version == manifest.version]
    if as_json:
        print_json(
            {
                "model": str(manifest),
                "aliases": aliases,
                "manifest": json.loads(manifest.to_json()),
                "alias_history": {
                    alias: [json.loads(move.to_json()) for move in moves]
                    for alias, moves in history.items()
                },
            }
        )
        return
    facts = _facts(manifest, aliases)
    facts |= {f"@{alias}": _history(moves) for alias, moves in history.items()}
    print_table(facts.items())


@click.command()
@click.argument("model", metavar="NAME[:VERSION|@ALIAS]")
@JSON_OPTION
def verify(model: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Read every object of a version and compare it with the manifest; exit 1 if one differs.

    Nothing is predicted: `fornada doctor` loads models and predicts their golden batches.

    Example: fornada models verify fashion-mnist@prod
    """
    store = store_from_env()
    manifest = store.verified_manifest(store.resolve(model).pin)
    findings = list(check_version(manifest, models=store))
    wrong = any(finding.status == "wrong" for finding in findings)
    if as_json:
        files = [asdict(finding) for finding in findings]
        print_json({"model": str(manifest), "ok": not wrong, "files": files})
    else:
        print_table((each.status, each.file, each.detail) for each in findings)
    sys.exit(1 if wrong else 0)


@click.command()
@click.argument("first", metavar="NAME[:VERSION|@ALIAS]")
@click.argument("second", metavar="NAME[:VERSION|@ALIAS]")
@JSON_OPTION
def diff(first: str, second: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Show what differs between two versions: metrics, training, classes, packages, digests.

    `fornada models compare` shows how their predictions differ.

    Example: fornada models diff fashion-mnist:1 fashion-mnist@prod
    """
    store = store_from_env()
    manifests = store.resolve(first), store.resolve(second)
    found = differences(*manifests)
    if as_json:
        facts = [{**asdict(difference), "change": difference.change} for difference in found]
        names = [str(manifest) for manifest in manifests]
        print_json({"first": names[0], "second": names[1], "differences": facts})
        return
    if not found:
        say(f"{manifests[0]} and {manifests[1]} do not differ")
        return
    rows = ((difference.fact, *_sides(difference)) for difference in found)
    print_table(rows, header=("fact", *manifests, "change"))


@click.command()
@click.argument("model", metavar="NAME[:VERSION|@ALIAS]")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="A new or empty folder.",
)
@JSON_OPTION
def export(model: str, output: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Copy a version to a folder and check every byte.

    Example: fornada models export fashion-mnist@prod --output fashion-mnist-prod
    """
    store = store_from_env()
    manifest = store.resolve(model)
    paths = export_version(manifest, output, models=store)
    if as_json:
        print_json({"model": str(manifest), "files": [str(path) for path in paths]})
        return
    for path in paths:
        say(path)


def _quality(metrics: Mapping[str, float]) -> str:
    for metric, words in _QUALITIES.items():
        if metric in metrics:
            return f"{words} {metrics[metric]:.4f}"
    return ""


def _facts(manifest: ModelManifest, aliases: list[str]) -> dict[str, str]:
    training = manifest.training
    facts = {
        "model": str(manifest),
        "aliases": " ".join(f"@{alias}" for alias in aliases) or "none",
        "digest": manifest.digest,
        "published": f"{manifest.created_at:%F %T}Z",
        **_tensor_facts(manifest),
        **{metric: f"{value:.4f}" for metric, value in sorted(manifest.metrics.items())},
    }
    if training is not None:
        parameters = ", ".join(f"{key} {value}" for key, value in training.parameters.items())
        facts["trained on"] = f"{training.dataset}, {training.item_count} items"
        facts["recipe"] = f"{training.recipe}: {parameters}, seed {training.seed}"
        facts["trained in"] = f"{training.duration_s:.1f} s"
    facts["packages"] = ", ".join(
        f"{name} {release}" for name, release in manifest.packages.items()
    )
    for ref in (manifest.artifact, *manifest.files.values()):
        facts[ref.key.rsplit("/", 1)[-1]] = f"{ref.key} ({ref.size_bytes} bytes)"
    return facts


def _tensor_facts(manifest: ModelManifest) -> dict[str, str]:
    facts = {}
    for taken in manifest.inputs:
        # Of several, the name tells which.
        of = f" {taken.name}" if len(manifest.inputs) > 1 else ""
        facts[f"takes{of}"] = f"{taken.name}: {taken}"
        if taken.image is not None:
            facts[f"images{of}"] = str(taken.image)
    for given in manifest.outputs:
        of = f" {given.name}" if len(manifest.outputs) > 1 else ""
        facts[f"gives{of}"] = f"{given.name}: {given}"
        if given.classes is not None:
            facts[f"classes{of}"] = ", ".join(given.classes)
    return facts


def _history(moves: Sequence[AliasMove]) -> str:
    return ", ".join(
        f"{'back to ' if move.rollback else ''}{move.version} ({move.moved_at:%F %T}Z)"
        for move in moves
    )


def _sides(difference: Difference) -> list[str]:
    change = difference.change
    sides = ["" if side is None else str(side) for side in (difference.first, difference.second)]
    return [*sides, "" if change is None else f"{change:+.6g}"]


def tensors_json(manifest: ModelManifest) -> dict[str, Any]:
    """What a model takes and gives, as its manifest has it."""
    return {
        "inputs": [json.loads(tensor.to_json()) for tensor in manifest.inputs],
        "outputs": [json.loads(tensor.to_json()) for tensor in manifest.outputs],
    }


def store_from_env() -> ModelStore:
    """The models of the deployment that `FORNADA_*` describes; contacts nothing yet."""
    settings = Settings.from_env(os.environ)
    settings.require_deployment(f"`{click.get_current_context().command_path}`")
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    return ModelStore.from_settings(settings)
