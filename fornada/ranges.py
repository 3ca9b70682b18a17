"""Sets of shards, or of items, as ascending inclusive ranges."""

import bisect
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from fornada.records import MAX_SHARDS


def _ascending(ranges: list[list[int]]) -> list[list[int]]:
    """Refuse ranges that are not an ascending set, before they are expanded."""
    before = -1
    for first, last in ranges:
        if not before < first <= last < MAX_SHARDS:
            raise ValueError(f"[{first}, {last}] is not a range below {MAX_SHARDS} above {before}")
        before = last
    return ranges


#: Shards, or items, as ranges [first, last], ascending.
Ranges = Annotated[
    list[Annotated[list[int], Field(min_length=2, max_length=2)]], AfterValidator(_ascending)
]


def to_ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as inclusive ranges: 0, 1, 2, 5 → [[0, 2], [5, 5]]."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges


def from_ranges(ranges: Iterable[Sequence[int]]) -> list[int]:
    """The numbers of inclusive ranges: [[0, 2], [5, 5]] → 0, 1, 2, 5."""
    return [number for first, last in ranges for number in range(first, last + 1)]


def size_of(ranges: Iterable[Sequence[int]]) -> int:
    """How many numbers inclusive ranges have."""
    return sum(last - first + 1 for first, last in ranges)


def in_ranges(number: int, ranges: Sequence[Sequence[int]]) -> bool:
    """Whether ascending inclusive ranges have the number."""
    after = bisect.bisect_right(ranges, number, key=lambda limits: limits[0])
    return after > 0 and number <= ranges[after - 1][1]
