"""`fornada models`: list and show what is published."""

import json
import os
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from fornada import logs
from fornada.console import console
from fornada.object_store import S3ObjectStore
from fornada.settings import Settings
from model_store.manifest import ModelManifest
from model_store.store import ModelStore

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


@click.group()
def models() -> None:
    """List and show published models."""


@models.command("list")
@_JSON
def list_models(as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """List all models with their newest version and their aliases.

    Example: fornada models list
    """
    store = _store()
    found = [
        (store.resolve(name), store.versions(name), store.aliases(name)) for name in store.names()
    ]
    if as_json:
        _print_json({"models": [_line(*entry) for entry in found]})
        return
    table = Table("model", "versions", "aliases", "test accuracy", "published", box=None)
    for newest, versions, aliases in found:
        accuracy = newest.metrics.get("test_accuracy")
        table.add_row(
            str(newest),
            str(len(versions)),
            " ".join(f"@{alias}→{version}" for alias, version in sorted(aliases.items())),
            "" if accuracy is None else f"{accuracy:.4f}",
            f"{newest.created_at:%F %T}Z",
        )
    console().print(table if found else "no models yet; `fornada train` publishes one")


@models.command()
@click.argument("model", metavar="NAME[:VERSION|@ALIAS]")
@_JSON
def show(model: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Show one version: what it takes and gives, how good it is, how it was made.

    Example: fornada models show fashion-mnist@prod
    """
    store = _store()
    manifest = store.resolve(model)
    aliases = [
        a for a, version in store.aliases(manifest.name).items() if version == manifest.version
    ]
    if as_json:
        plain = json.loads(manifest.to_json())
        _print_json({"model": str(manifest), "aliases": aliases, "manifest": plain})
        return
    table = Table(box=None, show_header=False)
    for fact, value in _facts(manifest, aliases).items():
        # Names and notes of others are text, not markup.
        table.add_row(fact, Text(value))
    console().print(table)


def _facts(manifest: ModelManifest, aliases: list[str]) -> dict[str, str]:
    training = manifest.training
    facts = {
        "model": str(manifest),
        "aliases": " ".join(f"@{alias}" for alias in aliases) or "none",
        "digest": manifest.digest,
        "published": f"{manifest.created_at:%F %T}Z",
        "takes": f"{manifest.item_dtype} {list(manifest.item_shape)}",
        "classes": ", ".join(manifest.classes),
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


def _line(newest: ModelManifest, versions: list[int], aliases: dict[str, int]) -> dict[str, Any]:
    return {
        "name": newest.name,
        "versions": versions,
        "newest": newest.version,
        "digest": newest.digest,
        "aliases": aliases,
        "metrics": newest.metrics,
        "created_at": newest.created_at.isoformat(),
    }


def _store() -> ModelStore:
    settings = Settings.from_env(os.environ)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    return ModelStore(objects=S3ObjectStore.from_settings(settings))


def _print_json(answer: dict[str, Any]) -> None:
    click.echo(json.dumps(answer))
