"""How far two histograms are apart: the population stability index (PSI)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

#: The usual thresholds (Lewis, An Introduction to Credit Scoring, 1994; Siddiqi, 2017).
MODERATE_FROM, LARGE_FROM = 0.1, 0.25
#: How often chance alone goes beyond `Shift.by_chance`.
_CHANCE = 0.05

Verdict = Literal["stable", "unclear", "moderate", "large"]
#: The mildest first.
VERDICTS: tuple[Verdict, ...] = ("stable", "unclear", "moderate", "large")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """The distance of a histogram from the one that is expected."""

    #: Sum over the bins of (share - expected share) times ln(share / expected share).
    psi: float
    #: What samples this small of one distribution stay below, 19 times of 20.
    by_chance: float
    #: `stable` below 0.1, `moderate` below 0.25, `large` from there on; `unclear` where it is over
    #: 0.1 and no more than chance may give.
    verdict: Verdict


def shift_of(expected: Sequence[int], found: Sequence[int], *, tries: int = 1) -> Shift | None:
    """The shift from one histogram to another of the same bins; `None` if one has no items.

    Half an item is added to each bin that either has items in, so that an empty one counts as
    rare; bins that both have none in are left out.

    Args:
        expected: Items of each bin.
        found: The same.
        tries: How many shifts are looked at of which only the largest is told.
    """
    if not sum(expected) or not sum(found):
        return None
    both = [(e, f) for e, f in zip(expected, found, strict=True) if e or f]
    shares = list(zip(*(_shares(side) for side in zip(*both, strict=True)), strict=True))
    psi = sum((f - e) * math.log(f / e) for e, f in shares)
    # As Yurdakul and Naranjo, Journal of Risk Model Validation 14 (2020).
    spread = 1 / sum(expected) + 1 / sum(found)
    by_chance = spread * _chi_square(len(both) - 1, 1 - _CHANCE / tries)
    return Shift(psi=psi, by_chance=by_chance, verdict=_verdict(psi, by_chance))


def _verdict(psi: float, by_chance: float) -> Verdict:
    if psi < MODERATE_FROM:
        return "stable"
    if psi <= by_chance:
        return "unclear"
    return "moderate" if psi < LARGE_FROM else "large"


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) + 0.5 * len(counts)
    return [(count + 0.5) / total for count in counts]


def _chi_square(degrees: int, probability: float) -> float:
    """The quantile of the chi-square distribution, by Wilson and Hilferty, to within 3 %."""
    if not degrees:
        return 0.0
    part = 2 / (9 * degrees)
    return float(degrees * (1 - part + NormalDist().inv_cdf(probability) * math.sqrt(part)) ** 3)
