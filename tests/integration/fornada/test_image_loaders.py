"""Images become the items that Keras's and TensorFlow's own loaders make of the same files."""

import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fornada.errors import InputError
from fornada.formats.images import decode_item
from fornada.tensors import ImagePreprocessing, InputTensor

from ...photos import Photo, encoded, in_mode, make_photos, scene, with_orientation

CHANNELS = {"rgb": 3, "grayscale": 1, "rgba": 4}
RESIZES = ("stretch", "crop", "pad")
#: Fornada's names -> those of `tf.image.resize`, and of `load_img`.
INTERPOLATIONS = {
    "bilinear": ("bilinear", "bilinear"),
    "nearest": ("nearest", "nearest"),
    "bicubic": ("bicubic", "bicubic"),
    "lanczos": ("lanczos3", "lanczos"),
    "area": ("area", "box"),
}
#: How many channels TensorFlow makes of what files.
READ_BY_TENSORFLOW = {
    ".bmp": {3, 4},
    ".gif": {3},
    ".jpeg": {1, 3},
    ".jpg": {1, 3},
    ".png": {1, 3, 4},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Photo]:
    folder = tmp_path_factory.mktemp("photos")
    made = {folder / photo.name: photo for photo in make_photos(folder)}
    return {path: photo for path, photo in made.items() if photo.problem is None}


def item(path: Path, shape: list[int | None], *, dtype: str = "float32", **image: Any) -> Any:
    taken = InputTensor.model_validate(
        {"name": "x", "dtype": dtype, "shape": shape, "image": ImagePreprocessing(**image)}
    )
    return decode_item(path.read_bytes(), taken=taken, where=path.name)


def data_set(
    paths: list[Path], tmp_path: Path, size: tuple[int, int], color: str, **options: Any
) -> list[np.ndarray]:
    """What `image_dataset_from_directory` makes of the files, in order."""
    folder = tmp_path / f"{color} {size} {options}"
    folder.mkdir()
    for number, path in enumerate(paths):
        (folder / f"{number:04}{path.suffix.lower()}").write_bytes(path.read_bytes())
    images = keras.utils.image_dataset_from_directory(
        folder,
        labels=None,
        color_mode=color,
        image_size=size,
        batch_size=None,
        shuffle=False,
        verbose=False,
        **options,
    )
    return [image.numpy() for image in images]


def read_by_tensorflow(photos: dict[Path, Photo], color: str) -> list[Path]:
    """Files that the data set does not fail on."""
    return [
        path
        for path, photo in photos.items()
        if CHANNELS[color] in READ_BY_TENSORFLOW.get(path.suffix.lower(), set())
        and not (photo.mode == "CMYK" and color == "grayscale")
        and " by its bytes" not in path.name
    ]


def test_items_are_those_of_image_dataset_from_directory(
    photos: dict[Path, Photo], tmp_path: Path
) -> None:
    for color, resize in product(CHANNELS, RESIZES):
        paths = read_by_tensorflow(photos, color)
        size = (48, 64)
        wanted = data_set(
            paths,
            tmp_path,
            size,
            color,
            crop_to_aspect_ratio=resize == "crop",
            pad_to_aspect_ratio=resize == "pad",
        )

        assert len(paths) > 4
        for path, image in zip(paths, wanted, strict=True):
            have = item(path, [*size, CHANNELS[color]], resize=resize, color=color)
            np.testing.assert_array_equal(image, have, strict=True, err_msg=path.name)


def test_items_are_those_of_load_img(photos: dict[Path, Photo]) -> None:
    for path, (color, resize) in product(photos, product(CHANNELS, ("stretch", "crop"))):
        if path.suffix == ".heic":
            continue
        with warnings.catch_warnings(action="ignore"):
            image = keras.utils.load_img(
                path, color_mode=color, target_size=(48, 64), keep_aspect_ratio=resize == "crop"
            )

        have = item(
            path,
            [48, 64, CHANNELS[color]],
            resize=resize,
            color=color,
            like="load_img",
            interpolation="nearest",
        )
        wanted = keras.utils.img_to_array(image)
        np.testing.assert_array_equal(wanted, have, strict=True, err_msg=path.name)


def test_every_interpolation_is_that_of_the_loader(
    photos: dict[Path, Photo], tmp_path: Path
) -> None:
    paths = [path for path in photos if path.parent.name == "sizes"]
    size = (40, 56)
    for name, (in_tensorflow, in_pillow) in INTERPOLATIONS.items():
        wanted = data_set(paths, tmp_path, size, "rgb", interpolation=in_tensorflow)
        for path, image in zip(paths, wanted, strict=True):
            near = item(path, [*size, 3], interpolation=name)
            np.testing.assert_allclose(near, image, rtol=0, atol=1e-3, err_msg=f"{name} {path}")

            loaded = keras.utils.load_img(path, target_size=size, interpolation=in_pillow)
            same = item(path, [*size, 3], interpolation=name, like="load_img")
            np.testing.assert_array_equal(keras.utils.img_to_array(loaded), same)


def test_resized_pixels_are_those_of_tf_image_resize(tmp_path: Path) -> None:
    for (width, height), size in product(((90, 61), (3, 200), (1, 1)), ((32, 32), (7, 150))):
        pixels = scene(width, height, channels=3)
        path = tmp_path / f"{width}x{height}.png"
        path.write_bytes(encoded(Image.fromarray(pixels), "PNG"))
        for (name, (method, _)), antialias in product(INTERPOLATIONS.items(), (False, True)):
            wanted = tf.image.resize(pixels, size, method=method, antialias=antialias)

            have = item(path, [*size, 3], interpolation=name, antialias=antialias)
            np.testing.assert_allclose(have, wanted, rtol=0, atol=1e-3, err_msg=name)


def turned_files(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    image = Image.fromarray(scene(60, 40, channels=3))
    for orientation, file_format in product(range(1, 9), ("JPEG", "PNG")):
        path = tmp_path / f"{orientation}.{file_format.lower()}"
        path.write_bytes(encoded(image, file_format, exif=with_orientation(orientation)))
        yield orientation, path


def test_exif_turns_the_loaders_pixels_where_it_is_to(tmp_path: Path) -> None:
    turns = [None, None, 0, 3, 1, 5, 4, 6, 2]
    for orientation, path in turned_files(tmp_path):
        decoded = tf.io.decode_image(path.read_bytes(), channels=3).numpy()
        loaded = np.asarray(keras.utils.load_img(path))
        for like, stored in (("image_dataset_from_directory", decoded), ("load_img", loaded)):
            image = Image.fromarray(stored)
            method = turns[orientation]
            upright = image if method is None else image.transpose(Image.Transpose(method))
            for exif, wanted in ((False, stored), (True, np.asarray(upright))):
                have = item(
                    path, [None, None, 3], dtype="uint8", resize="none", exif=exif, like=like
                )
                np.testing.assert_array_equal(wanted, have, strict=True, err_msg=path.name)


@pytest.mark.slow
def test_a_damaged_jpeg_has_tensorflows_pixels_or_none(tmp_path: Path) -> None:
    image = Image.fromarray(scene(90, 70, channels=3))
    options = ({}, {"restart_marker_blocks": 4}, {"progressive": True})
    files = [encoded(image, "JPEG", **option) for option in options]
    random = np.random.default_rng(0)
    path = tmp_path / "damaged.jpg"
    same = 0
    for number in range(1500):
        data = bytearray(files[number % len(files)])
        for at in random.integers(300, len(data), random.integers(1, 4)):
            data[at] = random.integers(256)
        path.write_bytes(data)
        try:
            have = item(path, [70, 90, 3], dtype="uint8", resize="none")
            wanted = tf.io.decode_image(bytes(data), channels=3).numpy()
        # What either refuses is none; Pillow reads some that TensorFlow does not.
        except (InputError, tf.errors.InvalidArgumentError):
            continue
        # With a damaged header, Pillow decodes what simplejpeg cannot.
        same += np.array_equal(wanted, have)
    assert 1200 < same


@pytest.mark.slow
def test_the_whole_grid_is_that_of_the_loaders(tmp_path: Path) -> None:
    formats = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "GIF": ".gif"}
    sizes = ((64, 48), (61, 47), (300, 10), (9, 200))
    photos: dict[Path, Photo] = {}
    for mode, (file_format, suffix), (width, height) in product(
        ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"), formats.items(), sizes
    ):
        try:
            data = encoded(in_mode(mode, width, height), file_format)
        except (OSError, ValueError):  # The format has no such mode.
            continue
        path = tmp_path / f"{mode.replace(';', '')} {width}x{height}{suffix}"
        path.write_bytes(data)
        # TensorFlow reads no BMP of 1 bit.
        if (mode, file_format) != ("1", "BMP"):
            photos[path] = Photo(name=path.name, width=width, height=height, mode=mode)
    compared = 0
    for color, resize, name in product(CHANNELS, RESIZES, INTERPOLATIONS):
        paths = read_by_tensorflow(photos, color)
        # Nothing would be left of it between the bars, and TensorFlow fails.
        if resize == "pad":
            paths = [path for path in paths if not path.stem.endswith(("300x10", "9x200"))]
        wanted = data_set(
            paths,
            tmp_path,
            (40, 25),
            color,
            interpolation=INTERPOLATIONS[name][0],
            crop_to_aspect_ratio=resize == "crop",
            pad_to_aspect_ratio=resize == "pad",
        )
        for path, image in zip(paths, wanted, strict=True):
            have = item(
                path, [40, 25, CHANNELS[color]], resize=resize, color=color, interpolation=name
            )
            np.testing.assert_allclose(have, image, rtol=0, atol=1e-3, err_msg=path.name)
            compared += 1
    assert compared > 1000
