"""Test items on the page: pictures with the bars of their probabilities, or rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from trainer.data.pictures import are_pictures, for_paper, thumbnail
from trainer.evaluation.classification import likeliest_classes, predicted_right
from trainer.figures.predictions import items_to_show, prediction_grid
from trainer.report.markup import bar, percent, short, table, tag
from trainer.report.page import Section, picture

#: Classes with a bar each, the true one besides.
_BARS = 4
_WORST = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifiedItems:
    """Test items with what they are and what they were taken for."""

    items: Array
    labels: NDArray[np.integer[Any]]
    #: float [items, classes].
    probabilities: NDArray[np.floating[Any]]
    classes: Sequence[str]


def items_section(tested: ClassifiedItems) -> Section:
    """Sixteen pictures of the test items, wrong ones among them."""
    right = predicted_right(tested.probabilities, tested.labels)
    chosen = items_to_show(right)
    wrong = int((~right[chosen]).sum())
    grid = prediction_grid(tested.items, tested.labels, tested.probabilities, tested.classes)
    lead = f"{len(chosen)} of {len(right):,} test items, spread over the data"
    if wrong:
        lead += f"; {wrong} that were taken for something else are picked to be seen"
    return Section(
        anchor="items",
        title="Test items",
        lead=f"{lead}. Blue is the true class, red a wrong prediction.",
        body=[_cards(tested, chosen)],
        figures={"test-items.png": grid},
    )


def mistakes_section(tested: ClassifiedItems) -> Section:
    """The items that were predicted wrong with the highest probability."""
    worst = worst_mistakes(tested.probabilities, tested.labels)
    if not len(worst):
        lead, body = "No test item was taken for something else.", []
    elif are_pictures(tested.items):
        lead = "Where it was surest of a wrong class, the surest first."
        body = [_cards(tested, worst)]
    else:
        lead = (
            "Where it was surest of a wrong class, the surest first. Items are numbered from 0 in "
            "the order of the test split."
        )
        body = [_mistake_table(tested, worst)]
    return Section(anchor="mistakes", title="Worst mistakes", lead=lead, body=body)


def worst_mistakes(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]
) -> NDArray[np.intp]:
    """Items taken for a wrong class, the highest probability of it first, at most twelve.

    Args:
        probabilities: float [items, classes]; rows with NaN have no result, and are left out.
        labels: int [items].
    """
    likeliest = likeliest_classes(probabilities)
    wrong = np.flatnonzero((likeliest != labels) & (likeliest >= 0))
    order = np.argsort(-probabilities[wrong].max(axis=1, initial=0), kind="stable")
    return wrong[order[:_WORST]]


def _cards(tested: ClassifiedItems, chosen: NDArray[np.intp]) -> Element:
    likeliest = likeliest_classes(tested.probabilities[chosen])
    pictures = for_paper(tested.items, chosen)
    cards = [
        _card(tested, int(item), int(predicted), image)
        for item, predicted, image in zip(chosen, likeliest, pictures, strict=True)
    ]
    return tag("div", *cards, class_="cards")


def _card(tested: ClassifiedItems, item: int, predicted: int, image: NDArray[np.uint8]) -> Element:
    label = int(tested.labels[item])
    right = predicted == label
    truth = short(tested.classes[label])
    said = "no result" if predicted < 0 else short(tested.classes[predicted])
    caption = tag(
        "figcaption",
        tag("strong", said),
        tag("span", f"item {item}" if right else f"is {truth} · item {item}"),
    )
    return tag(
        "figure",
        picture(thumbnail(image), alt=f"Test item {item}: {truth}"),
        tag("div", caption, _bars(tested, item, label, predicted)),
        class_="right" if right else "wrong",
    )


def _bars(tested: ClassifiedItems, item: int, label: int, predicted: int) -> Element:
    shares = np.nan_to_num(tested.probabilities[item])
    shown = np.argsort(-shares, kind="stable")[:_BARS].tolist()
    if label not in shown:
        shown[-1] = label
    bars = []
    for position in shown:
        kind = "true" if position == label else "said" if position == predicted else "other"
        share = float(shares[position])
        bars.append(
            tag(
                "li",
                tag("span", short(tested.classes[position]), class_="name"),
                tag("span", percent(share, decimals=0), class_="share"),
                bar(share),
                class_=kind,
            )
        )
    return tag("ul", *bars, class_="bars")


def _mistake_table(tested: ClassifiedItems, worst: NDArray[np.intp]) -> Element:
    likeliest = likeliest_classes(tested.probabilities[worst])
    rows = [
        (
            f"{item}",
            short(tested.classes[label]),
            short(tested.classes[predicted]),
            percent(float(tested.probabilities[item, predicted])),
            percent(float(tested.probabilities[item, label])),
        )
        for item, label, predicted in zip(worst, tested.labels[worst], likeliest, strict=True)
    ]
    numbers = ("Its probability", "The true one's")
    headings = ("Item", "True class", "Taken for", *numbers)
    return table(headings, rows, label="Worst mistakes", numbers=numbers)
