"""Calibration: how often a prediction with probability 80 % is right."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from trainer.evaluation.classification import predicted_right

#: As in Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
BIN_COUNT = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationBin:
    """Items whose predicted event has a probability above `lower` and up to `upper`."""

    lower: float
    upper: float
    items: int
    #: Mean probability; 0 if there are no items.
    confidence: float
    #: Share of the items where it came true; 0 if there are no items.
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Confidence against accuracy, by bins of equal width.

    The event is that the likeliest class is the true one, or that the second of two classes is.
    """

    bins: list[CalibrationBin]

    @property
    def items(self) -> int:
        """Items that have a result."""
        return sum(b.items for b in self.bins)

    @property
    def error(self) -> float:
        """Expected calibration error: |confidence - accuracy| of the bins, weighted by items."""
        gaps = sum(b.items * abs(b.confidence - b.accuracy) for b in self.bins)
        return gaps / max(self.items, 1)

    @property
    def confidence(self) -> float:
        """Mean probability over all items."""
        return sum(b.items * b.confidence for b in self.bins) / max(self.items, 1)

    @property
    def accuracy(self) -> float:
        """Share of all items where the event came true."""
        return sum(b.items * b.accuracy for b in self.bins) / max(self.items, 1)


def calibrate(probabilities: Array, labels: Array) -> Calibration:
    """Sort items into bins by the probability of their likeliest class.

    The expected calibration error and its bins are those of Guo et al. (2017), section 2.

    Args:
        probabilities: float [items, classes], each row adding up to 1; a row with NaN is left out.
        labels: int [items].
    """
    present = ~np.isnan(probabilities).any(axis=1)
    confidence = probabilities[present].max(axis=1, initial=0).astype(np.float64)
    return calibrate_event(confidence, predicted_right(probabilities[present], labels[present]))


def calibrate_event(confidence: NDArray[np.float64], came_true: NDArray[np.bool_]) -> Calibration:
    """Sort items into bins by the probability of one event.

    Args:
        confidence: float64 [items], finite.
        came_true: bool [items].
    """
    edges = np.linspace(0, 1, BIN_COUNT + 1)
    # A float32 softmax may exceed 1 slightly.
    bin_of = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BIN_COUNT - 1)
    bins = []
    for number in range(BIN_COUNT):
        inside = bin_of == number
        items = int(inside.sum())
        bins.append(
            CalibrationBin(
                lower=float(edges[number]),
                upper=float(edges[number + 1]),
                items=items,
                confidence=float(confidence[inside].mean()) if items else 0.0,
                accuracy=float(came_true[inside].mean()) if items else 0.0,
            )
        )
    return Calibration(bins=bins)
