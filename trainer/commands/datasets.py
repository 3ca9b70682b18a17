"""`fornada dataset` and `fornada evaluate`: data as files, and results measured against it."""

from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.table import Table
from rich.text import Text

from fornada.commands.output import JSON_OPTION, console, print_json
from fornada.errors import InputError, UsageError
from trainer.data.catalog import DATASET_NAMES, load_dataset
from trainer.data.files import (
    CLASSES,
    find_items,
    find_targets,
    read_array,
    read_classes,
    write_dataset,
    write_file,
)
from trainer.data.images import are_images
from trainer.evaluation.classification import Evaluation
from trainer.evaluation.classification import evaluate as evaluate_probabilities
from trainer.evaluation.regression import RegressionEvaluation, evaluate_values

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("name", type=click.Choice(DATASET_NAMES))
@click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True)
@click.option("--output", type=_PATH, required=True, metavar="DIR", help="Created if missing.")
@JSON_OPTION
def dataset(name: str, split: str, output: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Write a data set's items, targets and class names as files.

    Images go to images.npy, other items to items.npy; classes to labels.npy, values to targets.npy.

    Example: fornada dataset fashion_mnist --split test --output fashion-mnist-test
    """
    loaded = load_dataset(name)
    items, targets = loaded.splits[split]
    paths = write_dataset(output, items=items, targets=targets, classes=loaded.classes)
    if as_json:
        answer = {"dataset": name, "split": split, "kind": loaded.kind, "items": len(items)}
        files = {path.stem: str(path) for path in paths}
        print_json({**answer, "item_shape": list(loaded.item_shape), "files": files})
        return
    click.echo(f"wrote {len(items)} items to {paths[0]}")
    click.echo(f"{paths[1].stem}: {paths[1]}, classes: {paths[2]}")


@click.command()
@click.option(
    "--images",
    "--items",
    "items",
    type=_PATH,
    required=True,
    metavar="DIR|FILE",
    help="Output of `fornada dataset`, or a .npy file of items.",
)
@click.option(
    "--labels",
    "--targets",
    "targets",
    type=_PATH,
    metavar="FILE",
    help="Default: labels.npy or targets.npy beside the items.",
)
@click.option("--classes", type=_PATH, metavar="FILE", help=f"Default: {CLASSES} beside the items.")
@click.option(
    "--probabilities",
    "--values",
    "outputs",
    type=_PATH,
    required=True,
    metavar="FILE",
    help="A job's results as .npy.",
)
@click.option("--picture", type=_PATH, metavar="PNG", help="Draw the predictions.")
@JSON_OPTION
def evaluate(  # noqa: PLR0917 - click passes options by name
    items: Path,
    targets: Path | None,
    classes: Path | None,
    outputs: Path,
    picture: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Measure a job's probabilities or values against the true ones.

    Example: fornada evaluate --images fashion-mnist-test --probabilities probabilities.npy
    """
    items_file = find_items(items)
    true = read_array(targets or find_targets(items_file))
    names = read_classes(classes or items_file.with_name(CLASSES))
    found = read_array(outputs)
    evaluation: Evaluation | RegressionEvaluation
    if true.dtype.kind == "f":
        evaluation = evaluate_values(found, true)
    else:
        evaluation = evaluate_probabilities(found, true, names)
    if picture is not None:
        write_file(picture, _drawn(items_file, found, true, names))
    if as_json:
        print_json({**evaluation.to_plain(), "picture": str(picture) if picture else None})
        return
    if isinstance(evaluation, Evaluation):
        _print_classes(evaluation)
    else:
        _print_values(evaluation, names[0])
    if picture is not None:
        click.echo(f"picture: {picture}")


def _drawn(items_file: Path, outputs: Any, targets: Any, names: list[str]) -> bytes:
    """Sixteen images with their bars; of a regression, predicted against true values.

    Raises:
        UsageError: The items are not images.
        InputError: There are more or fewer items than labels.
    """
    from trainer.figures.predictions import prediction_grid  # noqa: PLC0415 - only for a picture
    from trainer.figures.residuals import scatter_figure  # noqa: PLC0415 - only for a picture

    if targets.dtype.kind == "f":
        present = np.isfinite(outputs[:, 0])
        return scatter_figure(outputs[present, 0], targets[present], output=names[0])
    items = read_array(items_file)
    if len(items) != len(targets):
        raise InputError(
            f"{items_file} has {len(items)} items for {len(targets)} labels; give labels of the "
            "same items"
        )
    if not are_images(items):
        raise UsageError(
            f"{items_file} has items of {items.dtype} {items.shape[1:]}, which are not images; "
            "leave out --picture"
        )
    return prediction_grid(items, targets, outputs, names)


def _print_classes(evaluation: Evaluation) -> None:
    click.echo(
        f"accuracy {evaluation.accuracy:.4f}: {evaluation.right} of {evaluation.items} items right"
        + _failed(evaluation.failed)
    )
    table = Table("class", "items", "right", "recall", box=None)
    for row in evaluation.classes:
        recall = "-" if row.recall is None else f"{row.recall:.4f}"
        table.add_row(Text(row.name), str(row.items), str(row.right), recall)
    console().print(table)


def _print_values(evaluation: RegressionEvaluation, name: str) -> None:
    click.echo(f"{name} of {evaluation.items} items" + _failed(evaluation.failed))
    click.echo(f"mean absolute error      {evaluation.mean_absolute_error:.4f}")
    click.echo(f"root mean squared error  {evaluation.root_mean_squared_error:.4f}")
    if evaluation.r_squared is not None:
        click.echo(f"R squared                {evaluation.r_squared:.4f}")


def _failed(count: int) -> str:
    return f", {count} without a result" if count else ""
