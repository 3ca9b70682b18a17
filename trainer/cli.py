"""`fornada dataset`, `fornada train` and `fornada evaluate`."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from fornada import keys, logs
from fornada.console import console
from fornada.errors import InputError, ModelNotFoundError, UsageError
from fornada.object_store import S3ObjectStore
from fornada.settings import Settings
from model_store.manifest import ModelManifest, ModelRef
from model_store.store import ModelStore
from trainer import datasets
from trainer.evaluation import Evaluation
from trainer.evaluation import evaluate as evaluate_probabilities
from trainer.files import (
    CLASSES,
    IMAGES,
    LABELS,
    read_array,
    read_classes,
    write_dataset,
    write_file,
)

log = logs.get_logger(__name__)

_DATASETS = click.Choice(datasets.NAMES)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("name", type=_DATASETS)
@click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True)
@click.option("--output", type=_PATH, required=True, metavar="DIR", help="Made if it is missing.")
@_JSON
def dataset(name: str, split: str, output: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Write a data set's images, labels and class names as files.

    Example: fornada dataset fashion_mnist --split test --output fashion-mnist-test
    """
    loaded = datasets.load(name)
    images, labels = (
        (loaded.train_items, loaded.train_targets)
        if split == "train"
        else (loaded.test_items, loaded.test_targets)
    )
    paths = write_dataset(output, images=images, labels=labels, classes=loaded.classes)
    if as_json:
        answer = {"dataset": name, "split": split, "items": len(images)}
        files = {path.stem: str(path) for path in paths}
        _print_json({**answer, "item_shape": list(loaded.item_shape), "files": files})
        return
    click.echo(f"wrote {len(images)} images to {paths[0]}")
    click.echo(f"labels: {paths[1]}, classes: {paths[2]}")


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


@click.command()
@click.option(
    "--images",
    type=_PATH,
    required=True,
    metavar="DIR|FILE",
    help="What `fornada dataset` wrote, or a .npy file of images.",
)
@click.option("--labels", type=_PATH, metavar="FILE", help=f"Default: {LABELS} beside the images.")
@click.option("--classes", type=_PATH, metavar="FILE", help=f"Default: {CLASSES} beside them.")
@click.option("--probabilities", type=_PATH, required=True, metavar="FILE", help="A job's results.")
@click.option("--picture", type=_PATH, metavar="PNG", help="Draw sixteen items with their bars.")
@_JSON
def evaluate(  # noqa: PLR0917 - click passes options by name
    images: Path,
    labels: Path | None,
    classes: Path | None,
    probabilities: Path,
    picture: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Compare a job's probabilities with the true labels.

    Example: fornada evaluate --images fashion-mnist-test --probabilities probabilities.npy
    """
    images_file = images / IMAGES if images.is_dir() else images
    true_labels = read_array(labels or images_file.with_name(LABELS))
    class_names = read_classes(classes or images_file.with_name(CLASSES))
    found = read_array(probabilities)
    evaluation = evaluate_probabilities(found, true_labels, class_names)
    if picture is not None:
        _draw(picture, images_file, found, true_labels, class_names)
    if as_json:
        _print_json({**evaluation.to_plain(), "picture": str(picture) if picture else None})
        return
    _print_evaluation(evaluation)
    if picture is not None:
        click.echo(f"picture: {picture}")


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


def _draw(
    picture: Path, images_file: Path, probabilities: Any, labels: Any, classes: list[str]
) -> None:
    from trainer.figures import prediction_grid  # noqa: PLC0415 - only for a picture
    from trainer.pictures import are_pictures  # noqa: PLC0415

    images = read_array(images_file)
    if len(images) != len(labels):
        raise InputError(
            f"{images_file} has {len(images)} images for {len(labels)} labels; give those of the "
            "same items"
        )
    if not are_pictures(images):
        raise UsageError(
            f"{images_file} has items of {images.dtype} {images.shape[1:]}, which are no pictures; "
            "leave out --picture"
        )
    write_file(picture, prediction_grid(images, labels, probabilities, classes))


def _print_evaluation(evaluation: Evaluation) -> None:
    click.echo(
        f"accuracy {evaluation.accuracy:.4f}: {evaluation.right} of {evaluation.items} items right"
        + (f", {evaluation.failed} without a result" if evaluation.failed else "")
    )
    table = Table("class", "items", "right", "recall", box=None)
    for row in evaluation.classes:
        recall = "-" if row.recall is None else f"{row.recall:.4f}"
        table.add_row(row.name, str(row.items), str(row.right), recall)
    console().print(table)


def _print_json(answer: dict[str, Any]) -> None:
    click.echo(json.dumps(answer))
