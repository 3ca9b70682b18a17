"""Figures are drawn from any data that can be evaluated."""

import io
import math

import numpy as np
from PIL import Image

from trainer.evaluation.binary import evaluate_binary
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.classification import ClassScore
from trainer.evaluation.predictions import of_labels, of_one_class
from trainer.figures.canvas import drawable_names
from trainer.figures.confusion import confusion_figure
from trainer.figures.curves import metric_curve, metric_names
from trainer.figures.labels import label_counts_figure
from trainer.figures.predictions import items_to_show, prediction_grid
from trainer.figures.reliability import reliability_figure
from trainer.figures.residuals import residual_figure, scatter_figure
from trainer.figures.thresholds import scores_figure

#: Names that matplotlib would take for a formula, or has no letters for.
_HOSTILE = ["$", r"$\frac{$", "猫", "a\nb", "\x00", "", "<script>", "x" * 500, "é", "%s"]


def _size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return image.size


def test_images_of_any_shape_and_number_and_any_number_of_classes_are_drawn() -> None:
    rng = np.random.default_rng(0)
    for count, item_shape, class_count in (
        *((1, (8, 8, 1), 2), (1, (32, 32, 3), 300)),
        (300, (20, 40), 10),
    ):
        images = rng.integers(0, 256, (count, *item_shape), dtype=np.uint8)
        probabilities = rng.dirichlet(np.ones(class_count), count).astype(np.float32)
        probabilities[0] = np.nan
        classes = [f"a class with a long name, number {index}" for index in range(class_count)]

        labels = rng.integers(0, class_count, count)

        png = prediction_grid(images, of_one_class(probabilities, labels, classes))

        width, height = _size(png)
        assert width > height > 1000


def test_class_names_are_drawn_as_text_only() -> None:
    probabilities = np.full((2, 10), 0.1, np.float32)

    # A broken formula or a warning about a missing glyph fails the test.
    images = np.zeros((2, 8, 8), np.uint8)
    prediction_grid(images, of_one_class(probabilities, np.arange(2), _HOSTILE))
    labels = of_labels(probabilities, np.eye(2, 10), _HOSTILE, threshold=0.5)
    prediction_grid(images, labels)
    label_counts_figure([ClassScore(name=n, items=2, right=1, predicted=1) for n in _HOSTILE])
    for pair in ((_HOSTILE[0], _HOSTILE[2]), (_HOSTILE[2], _HOSTILE[1])):
        outputs = np.array([[0.2], [0.7]], np.float32)
        found = evaluate_binary(outputs, np.arange(2), pair, threshold=0.5)
        scores_figure(outputs[:, 0], np.arange(2), found)
        reliability_figure(calibrate(np.eye(2), np.arange(2)), event=drawable_names(pair)[1])
    confusion_figure(np.ones((10, 10), np.int64), _HOSTILE)
    metric_curve(r"$\frac{$", {r"$\frac{$": [1.0, 2.0]})
    metric_curve("猫", {"猫": [1.0, 2.0]})
    scatter_figure(np.ones(3), np.ones(3), output=r"$\frac{$")


def test_an_undrawable_name_becomes_its_number() -> None:
    expected = ["$", r"$\frac{$", "#2", "#3", "#4", "", "<script>", "xxxxxxxxxxxxx…", "é", "%s"]

    assert expected == drawable_names(_HOSTILE)


def test_each_metric_is_named_once_the_loss_first() -> None:
    history = {"accuracy": [1.0], "loss": [1.0], "val_accuracy": [1.0], "val_loss": [1.0]}

    assert ["loss", "accuracy"] == metric_names(history)
    assert ["auc"] == metric_names({"val_auc": [1.0]})


def test_a_curve_is_drawn_with_and_without_validation_and_with_nan() -> None:
    for history in (
        {"loss": [0.5]},
        {"val_loss": [0.5] * 5},
        {"loss": [0.5] * 1000, "val_loss": [0.6] * 1000},
        {"loss": [1.0, math.nan], "val_loss": [math.inf, 1.0]},
    ):
        png = metric_curve("loss", history, best_epoch=1)

        assert _size(png)[0] > 700
        assert len(png) < 100_000


def test_a_confusion_matrix_of_any_number_of_classes_is_drawn() -> None:
    for class_count in (1, 46, 300):
        counts = np.random.default_rng(0).integers(0, 50, (class_count, class_count))

        png = confusion_figure(counts, [f"class {index}" for index in range(class_count)])

        assert _size(png)[0] > 400
        assert len(png) < 450_000


def test_calibration_is_drawn_even_without_results() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 200)
    nothing = np.full((1, 4), math.nan)

    assert _size(reliability_figure(calibrate(probabilities, np.zeros(200, np.int64))))
    assert _size(reliability_figure(calibrate(nothing, np.zeros(1, np.int64))))


def test_any_number_of_values_is_drawn_and_almost_equal_residuals() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 20_000):
        values, targets = rng.normal(size=count), rng.normal(size=count)

        assert len(scatter_figure(values, targets, output="price")) < 200_000
        assert len(residual_figure(values - targets)) < 100_000
    assert residual_figure(np.array([1e16, 1e16 + 2]))


def test_up_to_four_of_sixteen_items_are_wrong_ones() -> None:
    for wrong, right, expected in (
        *((0, 100, 0), (1, 100, 1), (50, 50, 4)),
        *((98, 2, 14), (100, 0, 16), (3, 2, 3)),
    ):
        is_right = np.arange(wrong + right) >= wrong

        chosen = items_to_show(is_right)

        assert min(16, wrong + right) == len(set(chosen.tolist()))
        assert expected == int((~is_right[chosen]).sum())
        assert sorted(chosen.tolist()) == chosen.tolist()


def test_the_shown_items_are_spread_over_the_data() -> None:
    chosen = items_to_show(np.ones(1600, np.bool_))

    assert [50 + 100 * index for index in range(16)] == chosen.tolist()
