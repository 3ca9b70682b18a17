"""`fornada train`: its options, and what it prints."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import click

from fornada import keys, logs
from fornada.commands.output import JSON_OPTION, print_json, say
from fornada.errors import MissingExtraError, ModelNotFoundError, NotBetterError, UsageError
from fornada.settings import Settings
from model_store.engines.keras_setup import backend_to_take
from model_store.gates import Gate
from model_store.manifest import ModelManifest, ModelRef
from model_store.store import ModelStore
from trainer.commands.data_options import folder_options, table_options
from trainer.commands.training_file import read_training_file
from trainer.data.catalog import DATASET_NAMES, load_dataset
from trainer.data.folder import Fit
from trainer.evaluation.acceptance import deciding_metric

#: Files that are left out and named.
_MOST_LEFT_OUT = 20

log = logs.get_logger(__name__)

_PATH = click.Path(path_type=Path)


def _use_file(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Make the file's options the defaults of the command line."""
    if path is None:
        return
    renamed = {"dataset": "dataset_name", "metric": "metrics", "gate": "gates"}
    renamed |= {"early_stopping": "early_stopping_epochs"}
    ctx.default_map = {
        renamed.get(name, name): value for name, value in read_training_file(path).items()
    }


@click.command()
@click.argument("path", type=_PATH, required=False, metavar="[PATH]")
@click.option(
    "--config",
    type=_PATH,
    is_eager=True,
    expose_value=False,
    callback=_use_file,
    metavar="FILE",
    help="These options as YAML, with _ for -. The command line takes precedence.",
)
@click.option(
    "--dataset", "dataset_name", type=click.Choice(DATASET_NAMES), help="A built-in data set."
)
@click.option("--data", type=_PATH, metavar="PATH", help="The same as PATH.")
@click.option("--target", metavar="COLUMN", help="The column of a table that is predicted.")
@click.option("--drop", multiple=True, metavar="COLUMN", help="Not an input; repeatable.")
@click.option(
    "--kind",
    type=click.Choice(["probabilities", "binary", "values"]),
    help="What the target is. Default: classes, if it is text or few whole numbers, else values.",
)
@click.option(
    "--image-size",
    metavar="HEIGHTxWIDTH",
    help="Size of a folder's images. Default: their own, if all have one up to 224x224, else that.",
)
@click.option(
    "--resize",
    type=click.Choice(get_args(Fit)),
    help="How images get that size: ignore their aspect ratio, cut the middle out, or add bars. "
    "Default: stretch.",
)
@click.option(
    "--strict", is_flag=True, help="Refuse a folder with broken images, or other files in a class."
)
@click.option("--name", metavar="MODEL", help="Default: the name of the data.")
@click.option("--recipe", metavar="NAME|MODULE:FUNCTION", help="Default: by the data.")
@click.option("--epochs", type=click.IntRange(1), help="At most. Default: the recipe's.")
@click.option("--batch-size", type=click.IntRange(1), help="Default: the recipe's.")
@click.option(
    "--optimizer", metavar="NAME", help="Keras's name: adam, sgd, … Default: the recipe's."
)
@click.option(
    "--learning-rate", type=click.FloatRange(0, 10, min_open=True), help="Default: the recipe's."
)
@click.option("--loss", metavar="NAME", help="Default: the recipe's.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Repeatable. Default: the recipe's.",
)
@click.option(
    "--validation-split",
    type=click.FloatRange(0, 0.9),
    default=0.2,
    show_default=True,
    help="Share of the training items held out for validation.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option(
    "--early-stopping",
    "early_stopping_epochs",
    type=click.IntRange(1),
    metavar="EPOCHS",
    help="Stop after this many epochs without a lower validation loss.",
)
@click.option("--keep-best", is_flag=True, help="Publish the epoch of lowest validation loss.")
@click.option("--checkpoint", type=_PATH, metavar="DIR", help="Save each epoch; resume from there.")
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="METRIC>=NUMBER",
    help="Publish only if this holds; repeatable.",
)
@click.option(
    "--register-only-if-better",
    is_flag=True,
    help="Publish only if better than the alias's version, or the newest.",
)
@click.option("--promote", metavar="ALIAS", help="Point this alias at the new version.")
@click.option(
    "--if-missing", is_flag=True, help="Do nothing if the model, with that alias, exists."
)
@JSON_OPTION
def train(  # noqa: PLR0917 - click passes options by name
    path: Path | None,
    dataset_name: str | None,
    data: Path | None,
    name: str | None,
    if_missing: bool,  # noqa: FBT001 - click passes flags by name
    promote: str | None,
    as_json: bool,  # noqa: FBT001
    **options: Any,
) -> None:
    """Train a model and publish it as the next version.

    PATH is custom data: a CSV or Parquet file with --target, a folder of images or of texts, or a
    .npz file.
    Optimizers, losses and metrics have Keras's names.

    Example: fornada train customers.csv --target churned --name churn --promote prod
    """
    settings = Settings.from_env(os.environ)
    settings.require_deployment("`fornada train`")
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    models = ModelStore.from_settings(settings)
    given = [each for each in (dataset_name, data, path) if each is not None]
    if len(given) != 1:
        raise UsageError("give one of PATH, --dataset NAME and --data PATH")
    data = data or path
    name = name or _name(dataset_name, data)
    if if_missing and (existing := _existing(models, name, promote)) is not None:
        say(f"{existing} exists; nothing to train", err=True)
        if as_json:
            print_json(_published(existing, settings, promote))
        return
    try:
        manifest = _train(
            dataset_name, data, name=name, models=models, promote=promote, options=options
        )
    except NotBetterError as exc:
        # The caller asked for this; it is no failure.
        say(str(exc), err=True)
        if as_json:
            print_json({"model": None, "name": name, "reason": str(exc)})
        return
    answer = _published(manifest, settings, promote)
    if as_json:
        print_json(answer)
    else:
        _print_published(answer)


def _train(
    dataset_name: str | None,
    data: Path | None,
    *,
    name: str,
    models: ModelStore,
    promote: str | None,
    options: Mapping[str, Any],
) -> ModelManifest:
    _check_installed()
    # Not at the top: they take seconds, and `--help` does not need them.
    from trainer import job  # noqa: PLC0415
    from trainer.data.custom import load_custom  # noqa: PLC0415
    from trainer.evaluation.acceptance import Acceptance  # noqa: PLC0415
    from trainer.recipes.plan import TrainingPlan, check_plan  # noqa: PLC0415

    chosen = dict(options)
    folder = folder_options(
        **{name: chosen.pop(name) for name in ("image_size", "resize", "strict")}
    )
    table = table_options(**{name: chosen.pop(name) for name in ("target", "drop", "kind")})
    checkpoint, only_if_better = chosen.pop("checkpoint"), chosen.pop("register_only_if_better")
    gates = tuple(map(Gate.parse, chosen.pop("gates")))
    plan = TrainingPlan(**chosen | {"metrics": tuple(chosen["metrics"]) or None})
    check_plan(plan)
    on_terminal = sys.stderr.isatty()
    if data is None:
        if folder is not None:
            raise UsageError("--image-size, --resize and --strict are for a folder of images")
        if table is not None:
            raise UsageError("--target, --drop and --kind are for a table")
        dataset = load_dataset(str(dataset_name))
    else:
        dataset = load_custom(data, folder, table=table)
    _report_left_out(dataset.left_out)
    return job.train(
        dataset,
        name=name,
        models=models,
        plan=plan,
        acceptance=Acceptance(gates=gates, only_if_better=only_if_better),
        promote=promote,
        checkpoint=checkpoint,
        show_progress=on_terminal,
        on_epoch=None if on_terminal else _log_epoch,
    )


def _check_installed() -> None:
    """Check that the packages are there, those of the report too, which is written hours later."""
    backend = backend_to_take()
    if backend == "openvino":
        raise MissingExtraError(
            "OpenVINO cannot train; install TensorFlow (pip install 'fornada[train]') or JAX"
        )
    missing = [name for name in (backend, "matplotlib", "jinja2") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"training needs {', '.join(missing)}; run: pip install 'fornada[train]'"
        )


def _report_left_out(left_out: Mapping[str, str]) -> None:
    for reason in list(left_out.values())[:_MOST_LEFT_OUT]:
        log.warning("left out", reason=reason)
    if len(left_out) > _MOST_LEFT_OUT:
        log.warning("left out too", count=len(left_out))


def _name(dataset_name: str | None, data: Path | None) -> str:
    if dataset_name is not None:
        return dataset_name.replace("_", "-")
    return keys.check_name("model name", Path(str(data)).resolve().stem)


def _log_epoch(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
    figures = {name: round(value, 4) for name, value in metrics.items()}
    log.info("epoch ended", epoch=epoch, epochs=epochs, **figures)


def _published(manifest: ModelManifest, settings: Settings, promoted: str | None) -> dict[str, Any]:
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
        "manifest": keys.ModelKeys(manifest.name).version(manifest.version).manifest,
        "files": {name: ref.key for name, ref in manifest.files.items()},
        "prefix": keys.ModelKeys(manifest.name).version(manifest.version).prefix,
    }


def _existing(models: ModelStore, name: str, alias: str | None) -> ModelManifest | None:
    try:
        return models.resolve(ModelRef(name=name, alias=alias))
    except ModelNotFoundError:
        return None


def _print_published(answer: dict[str, Any]) -> None:
    alias = f" (also {answer['name']}@{answer['alias']})" if answer["alias"] else ""
    metric = deciding_metric(answer["metrics"])
    say(f"published      {answer['model']}{alias}")
    say(f"digest         {answer['digest']}")
    say(f"{metric.replace('_', ' '):<14} {answer['metrics'][metric]:.4f}")
    say(f"trained in     {answer['duration_s']:.1f} s")
    say(f"report         fornada models report {answer['model']}")
    for key in (answer["artifact"], answer["manifest"], *answer["files"].values()):
        say(f"               {answer['bucket']}/{key}")
