"""Pictures are drawn from any data that can be evaluated."""

import io

import numpy as np
import pytest
from PIL import Image

from trainer.figures import _choose, prediction_grid, training_curve

_CLASSES = [f"class {index}" for index in range(10)]


def _size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return image.size


@pytest.mark.parametrize("item_shape", [(28, 28), (8, 8, 1), (32, 32, 3), (20, 40)])
@pytest.mark.parametrize("count", [1, 300])
def test_any_number_of_any_images_gives_a_picture(item_shape: tuple[int, ...], count: int) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *item_shape), dtype=np.uint8)
    probabilities = rng.dirichlet(np.ones(10), count).astype(np.float32)
    probabilities[0] = np.nan

    png = prediction_grid(images, rng.integers(0, 10, count), probabilities, _CLASSES)

    width, height = _size(png)
    assert width > height > 1000


@pytest.mark.parametrize("class_count", [2, 10, 300])
def test_any_number_of_classes_gives_a_picture(class_count: int) -> None:
    images = np.zeros((16, 8, 8), np.uint8)
    probabilities = np.full((16, class_count), 1 / class_count, np.float32)
    classes = [f"a class with a long name, number {index}" for index in range(class_count)]

    png = prediction_grid(images, np.ones(16, np.int64), probabilities, classes)

    assert _size(png)[0] > 1000


def test_the_same_numbers_give_the_same_bytes() -> None:
    history = {"loss": [2.0, 1.0], "accuracy": [0.5, 0.7]}

    assert training_curve(history) == training_curve(history)


@pytest.mark.parametrize("epochs", [1, 5])
@pytest.mark.parametrize("splits", [("",), ("", "val_")])
def test_the_curve_is_drawn_with_and_without_validation(
    epochs: int, splits: tuple[str, ...]
) -> None:
    history = {f"{split}{m}": [0.5] * epochs for split in splits for m in ("loss", "accuracy")}

    assert _size(training_curve(history))[0] > 1000


@pytest.mark.parametrize(
    ("wrong", "right", "expected_wrong"),
    [(0, 100, 0), (1, 100, 1), (50, 50, 4), (98, 2, 14), (100, 0, 16), (3, 2, 3)],
)
def test_wrong_items_are_among_the_sixteen_if_there_are_any(
    wrong: int, right: int, expected_wrong: int
) -> None:
    is_right = np.arange(wrong + right) >= wrong

    chosen = _choose(is_right)

    assert min(16, wrong + right) == len(set(chosen.tolist()))
    assert expected_wrong == int((~is_right[chosen]).sum())
    assert sorted(chosen.tolist()) == chosen.tolist()


def test_the_chosen_are_spread_over_the_data() -> None:
    chosen = _choose(np.ones(1600, np.bool_))

    assert [50 + 100 * index for index in range(16)] == chosen.tolist()
