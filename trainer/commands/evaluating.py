"""`fornada evaluate`: a job's results measured against the truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from fornada.commands.output import JSON_OPTION, print_json, print_table, say
from fornada.errors import InputError, UsageError
from fornada.formats.items import Array
from trainer.data.files import (
    CLASSES,
    find_items,
    find_targets,
    read_array,
    read_classes,
    write_file,
)
from trainer.data.images import are_images
from trainer.evaluation.binary import BinaryEvaluation, evaluate_binary
from trainer.evaluation.classification import ClassScore, Evaluation
from trainer.evaluation.classification import evaluate as evaluate_probabilities
from trainer.evaluation.multilabel import LabelsEvaluation, evaluate_labels
from trainer.evaluation.predictions import Predictions, of_labels, of_one_class, of_two_classes
from trainer.evaluation.regression import RegressionEvaluation, evaluate_each

_PATH = click.Path(path_type=Path)


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
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Least probability of the second of two classes, or of each label.",
)
@click.option("--picture", type=_PATH, metavar="PNG", help="Draw the predictions.")
@JSON_OPTION
def evaluate(  # noqa: PLR0917 - click passes options by name
    items: Path,
    targets: Path | None,
    classes: Path | None,
    outputs: Path,
    threshold: float,
    picture: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Measure a job's probabilities or values against the true ones.

    Labels are whole numbers of classes, or rows of 0 and 1 where several apply; values are
    fractions. Of two classes, results may be one probability per item.

    Example: fornada evaluate --images fashion-mnist-test --probabilities probabilities.npy
    """
    items_file = find_items(items)
    results = _Results(
        outputs=read_array(outputs),
        targets=read_array(targets or find_targets(items_file)),
        classes=read_classes(classes or items_file.with_name(CLASSES)),
        threshold=threshold,
    )
    evaluation = results.evaluation()
    if picture is not None:
        write_file(picture, _drawn(items_file, results))
    if as_json:
        found = (
            _values_to_plain(evaluation) if isinstance(evaluation, dict) else evaluation.to_plain()
        )
        print_json({**found, "picture": str(picture) if picture else None})
        return
    _print(evaluation)
    if picture is not None:
        say(f"picture: {picture}")


_Evaluation = Evaluation | BinaryEvaluation | LabelsEvaluation | dict[str, RegressionEvaluation]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Results:
    """A job's results, and the truth, whose shape and dtype say what the results are."""

    outputs: Array
    targets: Array
    classes: list[str]
    threshold: float

    @property
    def _are_values(self) -> bool:
        return self.targets.dtype.kind == "f"

    @property
    def _is_binary(self) -> bool:
        return self.outputs.shape[1:] == (1,) and len(self.classes) == 2  # noqa: PLR2004 - yes or no

    def evaluation(self) -> _Evaluation:
        """The results measured; values by name.

        Raises:
            InputError: Results, truth and classes do not fit together.
        """
        if self._are_values:
            return evaluate_each(self.outputs, self.targets, self.classes)
        if self.targets.ndim > 1:
            return evaluate_labels(
                self.outputs, self.targets, self.classes, threshold=self.threshold
            )
        if self._is_binary:
            return evaluate_binary(
                self.outputs, self.targets, self.classes, threshold=self.threshold
            )
        return evaluate_probabilities(self.outputs, self.targets, self.classes)

    def predictions(self) -> Predictions | None:
        """The predicted classes; `None` of values."""
        if self._are_values:
            return None
        if self.targets.ndim > 1:
            return of_labels(self.outputs, self.targets, self.classes, threshold=self.threshold)
        if self._is_binary:
            return of_two_classes(
                self.outputs, self.targets, self.classes, threshold=self.threshold
            )
        return of_one_class(self.outputs, self.targets, self.classes)


def _drawn(items_file: Path, results: _Results) -> bytes:
    """Sixteen images with their bars; of a value, predicted against true ones.

    Raises:
        UsageError: The items are not images, or there are several values.
        InputError: There are more or fewer items than labels.
    """
    from trainer.figures.predictions import prediction_grid  # noqa: PLC0415 - only for a picture
    from trainer.figures.residuals import scatter_figure  # noqa: PLC0415 - only for a picture

    predictions = results.predictions()
    if predictions is None:
        if len(results.classes) > 1:
            raise UsageError(
                f"there is no picture of {len(results.classes)} values; leave out --picture"
            )
        values, present = results.outputs[:, 0], np.isfinite(results.outputs[:, 0])
        targets = results.targets.reshape(len(values))
        return scatter_figure(values[present], targets[present], output=results.classes[0])
    items = read_array(items_file)
    if len(items) != len(results.targets):
        raise InputError(
            f"{items_file} has {len(items)} items for {len(results.targets)} labels; give labels "
            "of the same items"
        )
    if not are_images(items):
        raise UsageError(
            f"{items_file} has items of {items.dtype} {items.shape[1:]}, which are not images; "
            "leave out --picture"
        )
    return prediction_grid(items, predictions)


def _values_to_plain(evaluations: dict[str, RegressionEvaluation]) -> dict[str, Any]:
    """One value's errors as they are; those of several by name."""
    each = {name: found.to_plain() for name, found in evaluations.items()}
    return next(iter(each.values())) if len(each) == 1 else {"values": each}


def _print(evaluation: _Evaluation) -> None:
    if isinstance(evaluation, Evaluation):
        _print_right(evaluation)
        _print_classes(evaluation.classes)
    elif isinstance(evaluation, BinaryEvaluation):
        _print_binary(evaluation)
    elif isinstance(evaluation, LabelsEvaluation):
        _print_labels(evaluation)
    elif len(evaluation) == 1:
        _print_value(*next(iter(evaluation.items())))
    else:
        _print_values(evaluation)


def _print_right(evaluation: Evaluation | BinaryEvaluation) -> None:
    say(
        f"accuracy {evaluation.accuracy:.4f}: {evaluation.right} of {evaluation.items} items right"
        + _failed(evaluation.failed)
    )


def _print_classes(scores: list[ClassScore], *, with_f1: bool = False) -> None:
    rates = ("recall", "precision", "f1") if with_f1 else ("recall",)
    rows = []
    for score in scores:
        found = [_rate(getattr(score, rate)) for rate in rates]
        rows.append((score.name, score.items, score.right, *found))
    print_table(rows, header=("class", "items", "right", *rates))


def _print_binary(evaluation: BinaryEvaluation) -> None:
    _print_right(evaluation)
    say(f"{evaluation.positive} from a probability of {evaluation.threshold:g} on:")
    for name, rate in (
        ("precision", evaluation.precision),
        ("recall", evaluation.recall),
        ("F1", evaluation.f1),
        ("area under ROC", evaluation.roc_auc),
        ("average precision", evaluation.average_precision),
        ("Brier score", evaluation.brier_score),
    ):
        say(f"  {name:<18} {_rate(rate)}")
    no, yes = evaluation.negative, evaluation.positive
    rows = (
        (no, evaluation.true_negatives, evaluation.false_positives),
        (yes, evaluation.false_negatives, evaluation.true_positives),
    )
    print_table(rows, header=("is", f"predicted {no}", yes))


def _print_labels(evaluation: LabelsEvaluation) -> None:
    say(
        f"all labels right for {evaluation.exact} of {evaluation.items} items"
        + _failed(evaluation.failed)
    )
    _print_classes([*evaluation.classes, evaluation.micro], with_f1=True)


def _print_value(name: str, evaluation: RegressionEvaluation) -> None:
    say(f"{name} of {evaluation.items} items" + _failed(evaluation.failed))
    say(f"mean absolute error      {evaluation.mean_absolute_error:.4f}")
    say(f"root mean squared error  {evaluation.root_mean_squared_error:.4f}")
    if evaluation.r_squared is not None:
        say(f"R squared                {evaluation.r_squared:.4f}")


def _print_values(evaluations: dict[str, RegressionEvaluation]) -> None:
    rows = []
    for name, found in evaluations.items():
        errors = (found.mean_absolute_error, found.root_mean_squared_error, found.r_squared)
        rows.append((name, found.items, found.failed, *map(_rate, errors)))
    header = ("value", "items", "failed", "mean absolute", "RMS", "R squared")
    print_table(rows, header=header)


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.4f}"


def _failed(count: int) -> str:
    return f", {count} without a result" if count else ""
