"""Shards of what models take and give: images of several sizes, NaN, single numbers."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fornada.errors import PredictionError
from fornada.jobs.shard_inputs import ShardInput
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor

ITEMS = np.arange(30, dtype=np.float32).reshape(10, 3)


def _images(world: Any, sizes: list[tuple[int, int]]) -> tuple[list[Any], list[np.ndarray]]:
    """Stored PNGs of these heights and widths, and their pixels."""
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    refs = []
    for number, image in enumerate(pixels):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        refs.append(world.stored(f"inputs/{number}.png", file.getvalue()))
    return refs, pixels


def _takes_any_size(world: Any) -> None:
    image = ImagePreprocessing(resize="none")
    world.publish(
        item_shape=[8, 8, 3],
        takes=InputTensor(name="photo", dtype="float32", shape=[None, None, 3], image=image),
    )


def test_images_of_several_sizes_get_their_outputs_in_order(world: Any) -> None:
    sizes = [(8, 9), (12, 8), (8, 9), (20, 20), (12, 8)]
    _takes_any_size(world)
    refs, pixels = _images(world, sizes)
    world.submit(shards=[ShardInput(format="image", objects=refs, item_count=5)])

    assert "ok" == world.run()

    expected = [world.row_sums(image[np.newaxis])[0] for image in pixels]
    np.testing.assert_array_equal(expected, world.data())
    # and the outcome says how many rows the calls of each size had
    assert {"[8, 9, 3]": 4, "[12, 8, 3]": 4, "[20, 20, 3]": 4} == world.outcome().tiles
    assert world.outcome().tile_items is None


def test_an_image_too_small_for_the_network_fails_alone(world: Any) -> None:
    real = world.engine.answer

    def fails(tile: np.ndarray) -> np.ndarray:
        if tile.shape[1] < 4:
            raise PredictionError("the output size would be negative")
        return real(tile)

    world.engine.answer = fails
    _takes_any_size(world)
    refs, pixels = _images(world, [(8, 8), (2, 2), (9, 8)])
    world.submit(shards=[ShardInput(format="image", objects=refs, item_count=3)])

    assert "ok" == world.run()

    (error,) = world.outcome().item_errors
    reason = "the model failed on it: the output size would be negative"
    assert (1, reason) == (error.index, error.reason)
    expected = [world.row_sums(image[np.newaxis])[0] for image in (pixels[0], pixels[2])]
    np.testing.assert_array_equal(expected, world.data()[[0, 2]])


def test_one_number_an_item_is_stored_without_an_axis_of_its_own(world: Any) -> None:
    world.engine.answer = lambda tile: tile.sum(axis=1, dtype=np.float32)
    world.publish(gives=OutputTensor(name="price", shape=[], kind="values"))
    world.submit([ITEMS])

    assert "ok" == world.run()

    np.testing.assert_array_equal(ITEMS.sum(axis=1), world.data())


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"fill": 1.0}, [[1 + 1 + 2, 8]]), ({"finite": False}, [[np.nan, np.nan]])],
)
def test_the_manifest_says_what_becomes_of_nan(
    world: Any, flags: dict[str, Any], expected: list[list[float]]
) -> None:
    world.publish(
        takes=InputTensor(name="x", dtype="float32", shape=[3], **flags),
        gives=OutputTensor(name="y", shape=[2], kind="values", finite="finite" not in flags),
    )
    world.submit([np.array([[1, np.nan, 2]], np.float32)])

    assert "ok" == world.run()

    np.testing.assert_array_equal(np.array(expected, np.float32), world.data())
    assert [] == world.outcome().item_errors
    assert "SUCCEEDED" == world.jobs.final("job").state
