"""Pixels in another size: what it takes, and that a turned image gives the same."""

import tracemalloc

import numpy as np
import pytest

from fornada.formats.images.orientation import turned
from fornada.formats.images.resizing import resized
from fornada.tensors import ImagePreprocessing

STRETCHED = ImagePreprocessing()


@pytest.mark.parametrize("shape", [(40, 60, 3), (9, 7, 1), (8, 500, 3), (500, 8, 4)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_image_is_resized_as_one_that_was_never_turned(
    shape: tuple[int, ...], orientation: int
) -> None:
    view = turned(np.random.default_rng(1).integers(0, 256, shape, np.uint8), orientation)

    of_view = resized(view, height=12, width=16, image=STRETCHED)
    of_copy = resized(np.ascontiguousarray(view), height=12, width=16, image=STRETCHED)

    np.testing.assert_array_equal(of_copy, of_view)


def test_an_image_of_few_long_lines_takes_no_memory_for_each_line_of_the_model() -> None:
    pixels = np.zeros((8, 65_535, 3), np.uint8)

    tracemalloc.start()
    resized(pixels, height=224, width=224, image=STRETCHED)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # 3 MB for what is resized; a copy of 224 lines would take 44.
    assert peak_bytes < 16 * 1024 * 1024
