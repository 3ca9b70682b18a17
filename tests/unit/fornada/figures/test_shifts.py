"""The population stability index, against values computed by hand."""

import math
import random

import pytest

from fornada.figures.shifts import shift_of


def test_psi_is_what_its_formula_gives() -> None:
    # Shares with half an item more a bin: 50.5 and 50.5 of 101; 90.5 and 10.5 of 101.
    by_hand = (90.5 - 50.5) / 101 * math.log(90.5 / 50.5) + (10.5 - 50.5) / 101 * math.log(
        10.5 / 50.5
    )

    found = shift_of([50, 50], [90, 10])

    assert found is not None
    assert found.psi == pytest.approx(by_hand)
    assert found.psi == pytest.approx(0.853, abs=5e-4)
    assert "large" == found.verdict


def test_the_same_shares_are_no_shift_however_many_items() -> None:
    found = shift_of([3000, 1000], [300, 100])

    assert found is not None
    assert 0 <= found.psi < 1e-4
    assert "stable" == found.verdict


def test_a_bin_that_is_empty_on_one_side_counts_as_rare() -> None:
    found = shift_of([1000, 0], [900, 100])

    # 1000.5 and 0.5 of 1001; 900.5 and 100.5 of 1001.
    by_hand = -100 / 1001 * math.log(900.5 / 1000.5) + 100 / 1001 * math.log(100.5 / 0.5)
    assert found is not None
    assert found.psi == pytest.approx(by_hand)


def test_bins_that_are_empty_on_both_sides_change_nothing() -> None:
    assert shift_of([5, 7], [9, 8]) == shift_of([0, 5, 0, 7], [0, 9, 0, 8])


@pytest.mark.parametrize(
    ("found", "verdict"),
    [([560, 440], "stable"), ([700, 300], "moderate"), ([800, 200], "large")],
)
def test_verdicts_go_by_the_usual_thresholds(found: list[int], verdict: str) -> None:
    shift = shift_of([500, 500], found)

    assert shift is not None
    assert verdict == shift.verdict


def test_a_few_items_tell_nothing() -> None:
    few, many = (shift_of([500, 500], [7 * n, 3 * n]) for n in (1, 100))

    assert few is not None
    assert many is not None
    assert few.psi > 0.1
    assert ["unclear", "moderate"] == [few.verdict, many.verdict]


def test_without_items_there_is_no_shift() -> None:
    assert shift_of([0, 0], [1, 2]) is None
    assert shift_of([1, 2], [0, 0]) is None


@pytest.mark.parametrize("items", [50, 400])
def test_chance_alone_goes_beyond_its_limit_one_time_in_twenty(items: int) -> None:
    drawn = random.Random(7)
    weights = [30, 20, 15, 10, 10, 5, 5, 5]

    def draw(count: int) -> list[int]:
        chosen = drawn.choices(range(len(weights)), weights, k=count)
        return [chosen.count(bin_) for bin_ in range(len(weights))]

    shifts = [shift_of(draw(500), draw(items)) for _ in range(300)]

    beyond = sum(shift is not None and shift.psi > shift.by_chance for shift in shifts)
    # The mean is 15 of 300, the standard deviation 4.
    assert 1 <= beyond <= 30
