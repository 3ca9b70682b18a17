"""Test items on the page: images with bars of their probabilities, or rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from trainer.data.images import THUMBNAIL_SIDE, are_images, dark_on_light, thumbnail
from trainer.evaluation.predictions import Predictions
from trainer.figures.predictions import items_to_show, prediction_grid
from trainer.report.page import Section, short

#: Classes with a bar; a true one is always among them.
_MAX_BARS = 4
_MAX_MISTAKES = 12


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
    #: Whether its pixels are too small to be told apart.
    is_photo: bool
    bars: Sequence[_Bar]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mistake:
    """An item that is not an image, predicted wrong."""

    item: int
    truth: str
    predicted: str
    #: The class that the model was surest of, wrongly, and its probability.
    surest: str
    surest_share: float
    #: Probability of the likeliest true class; `None` where no label is true.
    true_share: float | None


def item_sections(items: Array | None, predictions: Predictions) -> list[Section]:
    """The sections on single items: sixteen of them, if they are images, and the worst mistakes."""
    if items is None or not are_images(items):
        return [_mistakes_section(None, predictions)]
    return [_items_section(items, predictions), _mistakes_section(items, predictions)]


def _items_section(items: Array, predictions: Predictions) -> Section:
    """Sixteen images of the test items, wrong predictions among them."""
    right = predictions.right
    chosen = items_to_show(right)
    return Section(
        anchor="items",
        title="Test items",
        values={
            "cards": _cards(items, predictions, chosen),
            "item_count": len(right),
            "wrong_count": int((~right[chosen]).sum()),
            "are_labels": predictions.are_labels,
        },
        figures={"test-items.png": prediction_grid(items, predictions)},
    )


def _mistakes_section(images: Array | None, predictions: Predictions) -> Section:
    """The items predicted wrong that the model was surest of; `None`: items are not images."""
    worst = predictions.surest_mistakes(_MAX_MISTAKES)
    return Section(
        anchor="mistakes",
        title="Worst mistakes",
        values={
            "are_images": images is not None,
            "are_labels": predictions.are_labels,
            "mistakes": _cards(images, predictions, worst)
            if images is not None
            else [_mistake(predictions, item) for item in worst.tolist()],
        },
    )


def _cards(items: Array, predictions: Predictions, chosen: NDArray[np.intp]) -> list[_Card]:
    right = predictions.right
    return [
        _Card(
            item=item,
            thumbnail=thumbnail(image),
            truth=_named(predictions, predictions.true_of(item)),
            predicted=_named(predictions, predictions.predicted_of(item))
            if predictions.present[item]
            else "no result",
            is_right=bool(right[item]),
            is_photo=max(image.shape[:2]) > THUMBNAIL_SIDE,
            bars=_bars(predictions, item),
        )
        for item, image in zip(chosen.tolist(), dark_on_light(items, chosen), strict=True)
    ]


def _named(predictions: Predictions, positions: Sequence[int]) -> str:
    return ", ".join(short(predictions.classes[position]) for position in positions) or "none"


def _bars(predictions: Predictions, item: int) -> list[_Bar]:
    shares = np.nan_to_num(predictions.probabilities[item])
    true, predicted = predictions.true_of(item), predictions.predicted_of(item)
    shown = np.argsort(-shares, kind="stable")[:_MAX_BARS].tolist()
    missing = [position for position in true if position not in shown]
    if missing:
        shown[-1] = missing[0]
    return [
        _Bar(
            name=predictions.classes[position],
            share=float(shares[position]),
            kind="true" if position in true else "predicted" if position in predicted else "other",
        )
        for position in shown
    ]


def _mistake(predictions: Predictions, item: int) -> _Mistake:
    shares = predictions.probabilities[item]
    true, predicted = predictions.true_of(item), predictions.predicted_of(item)
    extra = [position for position in predicted if position not in true]
    surest = max(extra, key=lambda position: shares[position], default=None)
    return _Mistake(
        item=item,
        truth=_named(predictions, true),
        predicted=_named(predictions, predicted),
        surest="" if surest is None else predictions.classes[surest],
        surest_share=0.0 if surest is None else float(shares[surest]),
        true_share=max((float(shares[position]) for position in true), default=None),
    )
