"""Test items on the page: images with bars of their probabilities, or rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from trainer.data.images import are_images, dark_on_light, thumbnail
from trainer.evaluation.classification import likeliest_classes, predicted_right
from trainer.figures.predictions import items_to_show, prediction_grid
from trainer.report.page import Section

#: Classes with a bar; the true one is always among them.
_MAX_BARS = 4
_MAX_MISTAKES = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifiedItems:
    """Test items with their true classes and predictions."""

    items: Array
    labels: NDArray[np.integer[Any]]
    #: float [items, classes].
    probabilities: NDArray[np.floating[Any]]
    classes: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bar:
    name: str
    share: float
    kind: Literal["true", "predicted", "other"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Card:
    """An image with its classes."""

    item: int
    thumbnail: bytes
    truth: str
    predicted: str
    is_right: bool
    bars: Sequence[_Bar]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mistake:
    """An item that is no image, taken for another class."""

    item: int
    truth: str
    predicted: str
    predicted_share: float
    true_share: float


def items_section(tested: ClassifiedItems) -> Section:
    """Sixteen images of the test items, wrong predictions among them."""
    right = predicted_right(tested.probabilities, tested.labels)
    chosen = items_to_show(right)
    grid = prediction_grid(tested.items, tested.labels, tested.probabilities, tested.classes)
    return Section(
        anchor="items",
        title="Test items",
        values={
            "cards": _cards(tested, chosen),
            "item_count": len(right),
            "wrong_count": int((~right[chosen]).sum()),
        },
        figures={"test-items.png": grid},
    )


def mistakes_section(tested: ClassifiedItems) -> Section:
    """The items predicted wrong with the highest probability."""
    worst = worst_mistakes(tested.probabilities, tested.labels)
    images = are_images(tested.items)
    return Section(
        anchor="mistakes",
        title="Worst mistakes",
        values={
            "are_images": images,
            "mistakes": _cards(tested, worst) if images else _mistakes(tested, worst),
        },
    )


def worst_mistakes(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]
) -> NDArray[np.intp]:
    """Positions of up to twelve wrong predictions, the highest probability first.

    Args:
        probabilities: float [items, classes]; rows with NaN have no result and are left out.
        labels: int [items].
    """
    likeliest = likeliest_classes(probabilities)
    wrong = np.flatnonzero((likeliest != labels) & (likeliest >= 0))
    order = np.argsort(-probabilities[wrong].max(axis=1, initial=0), kind="stable")
    return wrong[order[:_MAX_MISTAKES]]


def _cards(tested: ClassifiedItems, chosen: NDArray[np.intp]) -> list[_Card]:
    labels, likeliest = tested.labels[chosen], likeliest_classes(tested.probabilities[chosen])
    images = dark_on_light(tested.items, chosen)
    return [
        _Card(
            item=int(item),
            thumbnail=thumbnail(image),
            truth=tested.classes[label],
            predicted="no result" if predicted < 0 else tested.classes[predicted],
            is_right=bool(predicted == label),
            bars=_bars(tested, int(item), int(label), int(predicted)),
        )
        for item, label, predicted, image in zip(chosen, labels, likeliest, images, strict=True)
    ]


def _bars(tested: ClassifiedItems, item: int, label: int, predicted: int) -> list[_Bar]:
    shares = np.nan_to_num(tested.probabilities[item])
    shown = np.argsort(-shares, kind="stable")[:_MAX_BARS].tolist()
    if label not in shown:
        shown[-1] = label
    return [
        _Bar(
            name=tested.classes[position],
            share=float(shares[position]),
            kind="true" if position == label else "predicted" if position == predicted else "other",
        )
        for position in shown
    ]


def _mistakes(tested: ClassifiedItems, worst: NDArray[np.intp]) -> list[_Mistake]:
    labels, likeliest = tested.labels[worst], likeliest_classes(tested.probabilities[worst])
    return [
        _Mistake(
            item=int(item),
            truth=tested.classes[label],
            predicted=tested.classes[predicted],
            predicted_share=float(tested.probabilities[item, predicted]),
            true_share=float(tested.probabilities[item, label]),
        )
        for item, label, predicted in zip(worst, labels, likeliest, strict=True)
    ]
