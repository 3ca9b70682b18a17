"""The benchmark's photographs are the same each time, and as folders have them."""

import io

import pytest
from PIL import Image

from benchmarks.photos import workloads
from benchmarks.photos.making import photo


@pytest.mark.slow
def test_a_photograph_is_the_same_each_time_and_no_other() -> None:
    first, second = photo(7), photo(8)

    assert first == photo(7)
    assert first != second
    for data in (first, second):
        with Image.open(io.BytesIO(data)) as opened:
            assert 300 <= max(opened.size) <= 1600
            # as photographs compress: neither flat nor noise
            assert 0.05 < len(data) / (opened.width * opened.height) < 0.5


def test_packs_hold_all_photographs_in_order_the_last_pack_the_rest() -> None:
    assert ["inputs/photos/00000.jpg", "inputs/photos/00001.jpg"] == workloads.input_keys(
        "photos", 2
    )
    keys = workloads.input_keys("photos-tar", 600)

    assert [f"inputs/photos-tar/00{n}.tar" for n in range(3)] == keys
    assert [250, 500, 600] == [
        workloads.photos_in("photos-tar", keys[:count], 600) for count in (1, 2, 3)
    ]
