"""Which items are pictures, and how they are shown."""

import io

import numpy as np
import pytest
from PIL import Image

from trainer.data.images import THUMBNAIL_SIDE, are_images, dark_on_light, thumbnail


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (np.zeros((5, 8, 8), np.uint8), True),
        (np.zeros((5, 8, 8, 1), np.uint8), True),
        (np.zeros((5, 8, 8, 3), np.uint8), True),
        (np.zeros((5, 8, 8, 4), np.uint8), False),
        (np.zeros((5, 8), np.uint8), False),
        (np.zeros((5, 8, 8), np.float32), False),
        (np.zeros((5, 200), np.int32), False),
        (np.zeros((0, 8, 8), np.uint8), False),
    ],
)
def test_pictures_are_grey_or_coloured_bytes(items: np.ndarray, *, expected: bool) -> None:
    assert expected == are_images(items)


def test_light_on_black_becomes_dark_on_white() -> None:
    ink = np.zeros((1, 8, 8, 1), np.uint8)
    ink[0, 3, 3] = 255

    shown = dark_on_light(ink, np.array([0]))

    assert (1, 8, 8) == shown.shape
    assert (0, 255) == (shown[0, 3, 3], shown[0, 0, 0])


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 8, 8, 3)])
def test_other_pictures_stay_as_they_are(shape: tuple[int, ...]) -> None:
    pictures = np.full(shape, 130, np.uint8)

    np.testing.assert_array_equal(pictures, dark_on_light(pictures, np.arange(2)))


def test_coloured_pictures_stay_dark() -> None:
    dark = np.zeros((1, 4, 4, 3), np.uint8)

    np.testing.assert_array_equal(dark, dark_on_light(dark, np.array([0])))


@pytest.mark.parametrize(
    ("shape", "expected"), [((28, 28), (28, 28)), ((400, 200, 3), (48, 96)), ((1, 1), (1, 1))]
)
def test_large_pictures_are_made_small(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    png = thumbnail(noise)

    with Image.open(io.BytesIO(png)) as image:
        assert expected == image.size
    assert len(png) < THUMBNAIL_SIDE**2 * 3.1
