"""How image files become items is stated for a model, and changed without its framework."""

from collections.abc import Callable
from typing import Any

import pytest

from fornada.errors import UsageError
from fornada.tensors import ImagePreprocessing, InputTensor, default_image
from model_store.images import set_image, with_images
from model_store.manifest import ModelManifest
from model_store.store import ModelStore

_STRETCHED = ImagePreprocessing()
_GREY = ImagePreprocessing(color="grayscale")


def _taken(*shape: int | None, dtype: Any = "float32") -> InputTensor:
    return InputTensor(name="photo", dtype=dtype, shape=list(shape))


def test_images_are_told_from_other_arrays_by_their_shape() -> None:
    for shape, image in (
        ([224, 224, 3], _STRETCHED),
        ([28, 28], _GREY),
        ([48, 28, 1], _GREY),
        ([8, 9, 4], ImagePreprocessing(color="rgba")),
        ([None, None, 3], ImagePreprocessing(resize="none")),
        ([32, None, 1], ImagePreprocessing(resize="none", color="grayscale")),
        ([None, None], ImagePreprocessing(resize="none", color="grayscale")),
        ([24, 3], None),
        ([None, 16], None),
        ([100, 16], None),
        ([7, 7], None),
        ([3, 224, 224], None),
        ([8, 8, 2], None),
        ([784], None),
        ([], None),
    ):
        assert image == default_image(shape), shape
    assert with_images(_taken(8, 8, 3, dtype="bool"), None, where="m").image is None


def test_what_is_stated_keeps_the_defaults_of_the_rest() -> None:
    for taken, options, shape, image in (
        (_taken(8, 8, 3), None, [8, 8, 3], _STRETCHED),
        (_taken(8), None, [8], None),
        (_taken(8, 8), {"resize": "crop"}, [8, 8], _GREY.model_copy(update={"resize": "crop"})),
        # The default of that loader.
        (
            _taken(8, 8, 3),
            {"like": "load_img"},
            [8, 8, 3],
            ImagePreprocessing(like="load_img", interpolation="nearest"),
        ),
        (_taken(None, None, 3), {"size": (4, 6)}, [4, 6, 3], _STRETCHED),
        (
            _taken(None, 6, 3),
            {"size": [4, 6], "exif": True},
            [4, 6, 3],
            ImagePreprocessing(exif=True),
        ),
        (
            _taken(None, None, 3),
            {"exif": True},
            [None, None, 3],
            ImagePreprocessing(resize="none", exif=True),
        ),
    ):
        with_image = with_images(taken, options, where="m")  # type: ignore[arg-type]  # dict[str, object]

        assert (shape, image) == (with_image.shape, with_image.image), (taken, options)


def test_what_does_not_fit_is_refused_with_what_to_give() -> None:
    for taken, options, fact in (
        (_taken(8), {"resize": "crop"}, r"takes float32 \[8\], which are not images"),
        (
            _taken(None, None, 3),
            {"resize": "crop"},
            "any size .* resize is crop; publish it with a size",
        ),
        (_taken(8, 8, 3), {"size": (8, 9)}, r"takes images of \[8, 8\] .* not \[8, 9\]"),
        (_taken(8, 8, 3), {"size": 8}, "size of images is 8; give height and width"),
        (_taken(8, 8, 3), {"size": (0, 8)}, r"size of images is \(0, 8\)"),
        (_taken(8, 8, 3), {"resize": "fit"}, r"resize='fit'; give .*resize=stretch\|crop\|pad"),
        (_taken(8, 8, 3), {"like": "exact"}, "like='exact'; give some of"),
        (_taken(8, 8, 3), {"colour": "rgb"}, "image has no colour; give some of size="),
        (_taken(8, 8, 3), "crop", "image is a str; give a dict"),
    ):
        with pytest.raises(UsageError, match=fact):
            with_images(taken, options, where="m")  # type: ignore[arg-type]  # what users do


def test_a_version_of_other_images_has_the_same_files(
    models: ModelStore, publish: Callable[..., ModelManifest]
) -> None:
    # given a version whose photographs were turned upright and had the model's size
    before = publish(item_shape=[2, 2, 3], item_dtype="uint8", metrics={"accuracy": 0.5})

    # when
    after = set_image(before, {"resize": "crop"}, models=models)

    # then it is as published today, but for what was stated
    assert ImagePreprocessing(resize="crop") == after.input.image
    assert (2, before.digest, before.metrics) == (after.version, after.digest, after.metrics)
    assert before.output == after.output
    assert models.fetch(before.golden.inputs) == models.fetch(after.golden.inputs)
    assert models.fetch(after.files["history.json"]) == b"{}"
    again = set_image(after, {"exif": True}, models=models)
    assert ImagePreprocessing(resize="crop", exif=True) == again.input.image
    with pytest.raises(UsageError, match="images of m:3 are so already"):
        set_image(again, {"exif": True}, models=models)
