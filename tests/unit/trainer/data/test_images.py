"""Which items are images, and how they are shown."""

import io

import numpy as np
from PIL import Image

from trainer.data.images import (
    THUMBNAIL_SIDE,
    are_images,
    as_pixels,
    dark_on_light,
    thumbnail,
)


def test_images_are_grey_or_coloured_bytes() -> None:
    for shape in ((5, 8, 8), (5, 8, 8, 1), (5, 8, 8, 3)):
        assert are_images(np.zeros(shape, np.uint8))
    for shape in ((5, 8, 8, 4), (5, 8), (0, 8, 8)):
        assert not are_images(np.zeros(shape, np.uint8))
    assert not are_images(np.zeros((5, 8, 8), np.float32))
    assert not are_images(np.zeros((5, 200), np.int32))


def test_light_on_black_becomes_dark_on_white() -> None:
    ink = np.zeros((1, 8, 8, 1), np.uint8)
    ink[0, 3, 3] = 255

    shown = dark_on_light(ink, np.array([0]))

    assert (1, 8, 8) == shown.shape
    assert (0, 255) == (shown[0, 3, 3], shown[0, 0, 0])


def test_other_images_are_shown_as_they_are() -> None:
    for images in (
        np.full((2, 8, 8), 130, np.uint8),
        np.full((2, 8, 8, 3), 130, np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
    ):
        np.testing.assert_array_equal(images, dark_on_light(images, np.arange(2)))


def test_large_images_are_shrunk() -> None:
    for shape, expected in (
        ((28, 28), (28, 28)),
        ((400, 200, 3), (48, 96)),
        ((1, 1), (1, 1)),
    ):
        noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

        png = thumbnail(noise)

        with Image.open(io.BytesIO(png)) as image:
            assert expected == image.size
        assert len(png) < THUMBNAIL_SIDE**2 * 3.1


def test_floats_become_the_pixels_that_they_stand_for() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 9, 3), np.uint8)
    images[0, 0, 0] = (0, 255, 128)

    for items in (images / 255, images / 127.5 - 1, images.astype(np.float32), images / 2 - 100):
        np.testing.assert_array_equal(images, as_pixels(items))
    for other in (images, np.zeros((3, 9, 9, 2)), np.zeros((3, 9)), np.zeros((3, 9, 9), np.int32)):
        assert as_pixels(other) is other
