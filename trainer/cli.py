"""`fornada train`."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from fornada import keys, logs
from fornada.errors import ModelNotFoundError
from fornada.object_store import S3ObjectStore
from fornada.settings import Settings
from model_store.manifest import ModelManifest, ModelRef
from model_store.store import ModelStore
from trainer import datasets

log = logs.get_logger(__name__)

_DATASETS = click.Choice(datasets.NAMES)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


@click.command()
@click.option("--dataset", "dataset_name", type=_DATASETS, required=True, help="What to learn.")
@click.option("--name", required=True, metavar="MODEL", help="The model's name in the store.")
@click.option("--epochs", type=click.IntRange(1), default=5, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option(
    "--validation-split",
    type=click.FloatRange(0, 0.9),
    default=0.2,
    show_default=True,
    help="Share of the training items that is only measured on.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, 10, min_open=True),
    default=0.001,
    show_default=True,
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option("--promote", metavar="ALIAS", help="Point this alias at the new version.")
@click.option(
    "--if-missing", is_flag=True, help="Do nothing if the model (with that alias) exists already."
)
@_JSON
def train(
    dataset_name: str,
    name: str,
    promote: str | None,
    if_missing: bool,  # noqa: FBT001 - click passes flags by name
    as_json: bool,  # noqa: FBT001
    **plan: Any,
) -> None:
    """Train a model and publish it as the next version.

    Example: fornada train --dataset fashion_mnist --name fashion-mnist --promote prod
    """
    from trainer import job  # noqa: PLC0415 - `--help` does not need it

    settings = Settings.from_env(os.environ)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    models = ModelStore(objects=S3ObjectStore.from_settings(settings))
    if if_missing and (existing := _existing(models, name, promote)) is not None:
        click.echo(f"{existing} is there already; nothing to train", err=True)
        if as_json:
            _print_json(_published(existing, settings, promote))
        return
    on_terminal = sys.stderr.isatty()
    manifest = job.train(
        datasets.load(dataset_name),
        name=name,
        models=models,
        plan=job.TrainingPlan(**plan),
        promote=promote,
        show_progress=on_terminal,
        on_epoch=None if on_terminal else _log_epoch(plan["epochs"]),
    )
    answer = _published(manifest, settings, promote)
    if as_json:
        _print_json(answer)
    else:
        _print_published(answer)


def _log_epoch(epochs: int) -> Any:
    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        figures = {metric: round(value, 4) for metric, value in metrics.items()}
        log.info("epoch ended", epoch=epoch, epochs=epochs, **figures)

    return on_epoch


def _published(manifest: ModelManifest, settings: Settings, promoted: str | None) -> dict[str, Any]:
    prefix = keys.model_version_prefix(manifest.name, manifest.version)
    return {
        "model": str(manifest),
        "name": manifest.name,
        "version": manifest.version,
        "alias": promoted,
        "digest": manifest.digest,
        "metrics": manifest.metrics,
        "duration_s": manifest.training.duration_s if manifest.training else None,
        "bucket": settings.s3_bucket,
        "artifact": manifest.artifact.key,
        "manifest": keys.model_manifest(manifest.name, manifest.version),
        "files": {name: ref.key for name, ref in manifest.files.items()},
        "prefix": prefix,
    }


def _existing(models: ModelStore, name: str, alias: str | None) -> ModelManifest | None:
    try:
        return models.resolve(ModelRef(name=name, alias=alias))
    except ModelNotFoundError:
        return None


def _print_published(answer: dict[str, Any]) -> None:
    alias = f" (now also {answer['name']}@{answer['alias']})" if answer["alias"] else ""
    click.echo(f"published      {answer['model']}{alias}")
    click.echo(f"digest         {answer['digest']}")
    click.echo(f"test accuracy  {answer['metrics']['test_accuracy']:.4f}")
    click.echo(f"trained in     {answer['duration_s']:.1f} s")
    for key in (answer["artifact"], answer["manifest"], *answer["files"].values()):
        click.echo(f"               {answer['bucket']}/{key}")


def _print_json(answer: dict[str, Any]) -> None:
    click.echo(json.dumps(answer))
