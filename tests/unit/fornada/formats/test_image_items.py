"""Image files become items of what a model takes: sizes, dtypes, colours, kinds, errors."""

import io
import struct
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from fornada.errors import InputError, MissingExtraError
from fornada.formats.images import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    check_image_input,
    decode_item,
    has_ignored_orientation,
    is_image,
)
from fornada.formats.items import Array
from fornada.tensors import InputTensor

from ....photos import (
    Photo,
    encoded,
    in_mode,
    make_photos,
    png_that_declares,
    scene,
    with_orientation,
)

PICTURE = scene(30, 20, channels=3)
PNG = encoded(Image.fromarray(PICTURE), "PNG")
JPEG = encoded(Image.fromarray(PICTURE), "JPEG")
LOADERS = ("image_dataset_from_directory", "load_img", "exact")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Photo]:
    folder = tmp_path_factory.mktemp("photos")
    return {folder / photo.name: photo for photo in make_photos(folder)}


def taking(shape: list[int | None], dtype: str = "float32", **image: Any) -> InputTensor:
    said = {"image": image} if image else {}
    return InputTensor.model_validate({"name": "x", "dtype": dtype, "shape": shape, **said})


def item(data: bytes, shape: list[int | None], dtype: str = "float32", **image: Any) -> Array:
    return decode_item(data, taken=taking(shape, dtype, **image), where="a.png")


def test_every_photograph_becomes_an_item_and_every_broken_file_an_error(
    photos: dict[Path, Photo],
) -> None:
    why = {
        "empty": "is an empty file; write it again",
        "truncated": "is a broken image",
        "foreign": "is not an image that can be read .it looks like .*; give JPEG, PNG",
        "bomb": "is 50000x50000 pixels, and an image may have",
    }
    for path, photo in photos.items():
        for like in LOADERS:
            taken = taking([24, 32, 3], "uint8", like=like)
            if photo.problem is None:
                made = decode_item(path.read_bytes(), taken=taken, where=photo.name)
                assert ((24, 32, 3), np.uint8) == (made.shape, made.dtype)
                # `load_img` makes white of grey of 16 bits.
                assert made.std() > 5 or (photo.mode, like) == ("I;16", "load_img")
                continue
            with pytest.raises(InputError, match=f"^{photo.name}.*{why[photo.problem]}") as caught:
                decode_item(path.read_bytes(), taken=taken, where=photo.name)
            assert "; " in str(caught.value)


def test_an_image_is_known_by_how_it_begins_not_by_its_name(photos: dict[Path, Photo]) -> None:
    for path, photo in photos.items():
        head = path.read_bytes()[:HEAD_BYTES]

        assert is_image(head) == (photo.problem not in {"empty", "foreign"})
        assert path.suffix.lower() in IMAGE_SUFFIXES
    for other in (b"BMW,3 doors\n", b"RIFF\0\0\0\0WAVEfmt ", b"\0\0\0\x18ftypmp42", b"\x93NUMPY"):
        assert not is_image(other)


def test_an_item_has_the_models_shape_and_dtype() -> None:
    for shape in ([7, 9], [7, 9, 1], [7, 9, 3], [7, 9, 4]):
        for dtype in ("uint8", "int8", "int32", "uint64", "float16", "bfloat16", "float64"):
            made = item(JPEG, shape, dtype)

            assert tuple(shape) == made.shape
            assert taking(shape, dtype).numpy_dtype == made.dtype


def test_a_side_that_varies_is_the_images_own() -> None:
    for shape, wanted in (
        ([None, None, 3], (20, 30, 3)),
        ([None, None], (20, 30)),
        ([10, None, 3], (10, 30, 3)),
        ([None, 15, 1], (20, 15, 1)),
    ):
        for resize in ("stretch", "crop", "pad"):
            assert wanted == item(PNG, shape, resize=resize, color=_color(shape)).shape


def _color(shape: list[int | None]) -> str:
    return "rgb" if shape[2:] == [3] else "grayscale"


def test_without_a_preset_the_image_is_stretched_and_not_turned() -> None:
    sideways = encoded(Image.fromarray(PICTURE), "PNG", exif=with_orientation(6))

    plain = item(sideways, [20, 30, 3], "uint8")

    np.testing.assert_array_equal(PICTURE, plain)
    for shape in ([8, 8], [8, 8, 1], [8, 8, 3], [8, 8, 4]):
        color = {1: "grayscale", 3: "rgb", 4: "rgba"}[shape[2] if len(shape) > 2 else 1]
        said = item(sideways, shape, resize="stretch", exif=False, color=color)
        np.testing.assert_array_equal(said, item(sideways, shape))


def test_a_photograph_is_turned_by_every_loader_where_the_model_says_so() -> None:
    upright = Image.fromarray(PICTURE)
    for file_format, how in (("PNG", {}), ("JPEG", {"quality": 95, "subsampling": "4:4:4"})):
        sideways = encoded(upright, file_format, exif=with_orientation(6), **how)
        for like in LOADERS:
            shape = [30, 20, 3]

            turned = item(sideways, shape, "uint8", exif=True, like=like, resize="stretch")

            straight = item(sideways, [20, 30, 3], "uint8", exif=False, like=like, resize="stretch")
            np.testing.assert_array_equal(np.rot90(straight, -1), turned)


def test_stretch_crop_and_pad_treat_the_aspect_ratio_differently() -> None:
    # Left third black, middle grey, right third white.
    bands = np.repeat(np.array([0, 100, 255], np.uint8), 20)[np.newaxis, :].repeat(20, axis=0)
    data = encoded(Image.fromarray(bands), "PNG")
    for like in LOADERS:
        made = {
            resize: item(
                data, [20, 20], resize=resize, color="grayscale", interpolation="nearest", like=like
            )
            for resize in ("stretch", "crop", "pad")
        }
        assert {0, 100, 255} == set(np.unique(made["stretch"]))
        assert {100} == set(np.unique(made["crop"]))
        assert [0, 0, 100, 255, 0] == made["pad"][[0, 5, 10, 10, 13], [10, 10, 10, 19, 10]].tolist()


def test_without_resizing_another_size_is_refused_with_both() -> None:
    for like in LOADERS:
        for shape, takes in (
            ([20, 31, 3], r"31x20 \(width x height\); resize before you submit, or submit with"),
            ([21, None, 3], "a height of 21; resize before you submit$"),
            ([None, 31, 3], "a width of 31; resize before you submit$"),
        ):
            with pytest.raises(InputError, match=rf"is 30x20 pixels, and the model takes {takes}"):
                item(PNG, shape, resize="none", like=like)
        np.testing.assert_array_equal(
            PICTURE, item(PNG, [20, None, 3], "uint8", resize="none", like=like)
        )


def test_integers_are_cut_to_their_range_and_truncated() -> None:
    ramp = encoded(Image.fromarray(np.array([[0, 100, 255]], np.uint8)), "PNG")
    deep = encoded(Image.fromarray(np.full((2, 2), 60_000, np.uint16)), "PNG")

    halves = item(ramp, [1, 6], "float32")
    assert not np.array_equal(halves, np.floor(halves))
    np.testing.assert_array_equal(np.floor(halves).astype(np.uint8), item(ramp, [1, 6], "uint8"))
    np.testing.assert_array_equal(
        np.minimum(halves, 127).astype(np.int8), item(ramp, [1, 6], "int8")
    )
    # `load_img` leaves grey of 16 bits as it is.
    for dtype, wanted in (("uint8", 255), ("uint16", 60_000), ("float32", 60_000)):
        made = item(deep, [2, 2], dtype, like="load_img", color="grayscale")
        assert {wanted} == set(np.unique(made))
    # Where interpolation overshoots, an integer does not wrap.
    step = encoded(Image.fromarray(np.array([[0, 0, 255, 255]], np.uint8)), "PNG")
    sharp = {"interpolation": "bicubic", "color": "grayscale"}
    assert item(step, [1, 16], **sharp).min() < 0
    np.testing.assert_array_equal(
        item(step, [1, 16], **sharp).clip(0, 255).astype(np.uint8),
        item(step, [1, 16], "uint8", **sharp),
    )


def test_what_takes_no_images_is_named() -> None:
    for shape, dtype, why in (
        ([10], "float32", r"shape \[10\], which are neither grey nor RGB images; give arrays"),
        ([None, 8, 8, 3], "float32", r"shape \[null, 8, 8, 3\], which are neither"),
        ([8, 8, 2], "float32", r"shape \[8, 8, 2\], which are neither"),
        ([8, 0, 3], "float32", r"shape \[8, 0, 3\], which are neither"),
        ([8, 8, 3], "string", "dtype string; give arrays"),
        ([8, 8, 3], "bool", "dtype bool; give arrays"),
    ):
        with pytest.raises(InputError, match=why):
            check_image_input(taking(shape, dtype), where="a.png")
    with pytest.raises(InputError, match=r"a grayscale image, and .* shape \[8, 8, 3\], .* rgb"):
        check_image_input(taking([8, 8, 3], color="grayscale"), where="a.png")


def test_an_orientation_that_is_ignored_is_found(photos: dict[Path, Photo]) -> None:
    for path, photo in photos.items():
        assert (photo.orientation != 1) == has_ignored_orientation(path.read_bytes()), path
    assert not has_ignored_orientation(b"")
    # Whatever reads TIFF turns it.
    sideways = encoded(Image.fromarray(PICTURE), "TIFF", exif=with_orientation(6))
    assert not has_ignored_orientation(sideways)
    assert (30, 20, 3) == item(sideways, [None, None, 3], resize="none").shape


def test_bombs_are_refused_before_memory_is_taken() -> None:
    webp = bytearray(
        encoded(
            Image.new("RGBA", (8, 8)),
            "WEBP",
            save_all=True,
            append_images=[Image.new("RGBA", (8, 8), "red")],
        )
    )
    webp[24:30] = (16_000).to_bytes(3, "little") * 2
    gif = bytearray(encoded(Image.new("P", (8, 8)), "GIF"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    jpeg = bytearray(JPEG)
    struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc0") + 5, 60_000, 60_000)
    bmp = bytearray(encoded(Image.new("L", (8, 8)), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    bombs = [
        png_that_declares(60_000, 60_000),
        png_that_declares(70_000, 1),
        bytes(webp),
        bytes(gif),
        bytes(jpeg),
        bytes(bmp),
    ]
    tracemalloc.start()
    for data in bombs:
        for like in LOADERS:
            with pytest.raises(InputError, match="pixels"):
                item(data, [24, 24, 3], like=like)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 2_000_000


def test_files_of_countless_parts_are_refused_at_once() -> None:
    gif = encoded(Image.new("P", (8, 8)), "GIF")
    at = gif.index(b",\0\0\0\0")
    comments = gif[:at] + b"!\xfe\1a\0" * 100_000 + gif[at:]
    progressive = encoded(Image.new("RGB", (4000, 4000)), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    scans = progressive[:-2] + progressive[last:-2] * 150 + progressive[-2:]
    segments = JPEG[:2] + b"\xff\xec\0\2" * 100_000 + JPEG[2:]

    for data, like, why in (
        (comments, "image_dataset_from_directory", "it has too many parts"),
        (scans, "image_dataset_from_directory", "more than 150 scans of 4000x4000 pixels"),
        (scans, "load_img", "more than 150 scans of 4000x4000 pixels"),
        (segments, "load_img", "it has too many parts"),
    ):
        with pytest.raises(InputError, match=why):
            item(data, [24, 24, 3], like=like)


def test_a_jpeg_with_faults_that_decoders_read_over_is_an_image() -> None:
    whole = item(JPEG, [20, 30, 3])
    padded = JPEG[:-2] + bytes(239) + JPEG[-2:]
    followed = JPEG + b"a film, as phones append it" * 100

    np.testing.assert_array_equal(whole, item(padded, [20, 30, 3]))
    np.testing.assert_array_equal(whole, item(followed, [20, 30, 3]))
    # Decoders warn of the junk first, whatever comes after it.
    in_parts = encoded(Image.fromarray(PICTURE), "JPEG", restart_marker_blocks=1)
    warned = in_parts.replace(b"\xff\xd0", b"\0\0\xff\xd0", 1)
    np.testing.assert_array_equal(whole, item(warned, [20, 30, 3]))
    with pytest.raises(InputError, match="broken"):
        item(warned.replace(b"\xff\xd1", b"\xff\xc8", 1), [20, 30, 3])
    for cut in (2, 3, 40, len(JPEG) // 3):
        for data in (JPEG[:-cut], warned[:-cut], padded[: -cut - 239]):
            with pytest.raises(InputError, match=r"truncated|broken"):
                item(data, [20, 30, 3])


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    heic = io.BytesIO()
    from_pillow = pytest.importorskip("pillow_heif").from_pillow
    from_pillow(Image.fromarray(PICTURE)).save(heic)
    assert is_image(heic.getvalue()[:HEAD_BYTES])
    for module, data, extra in (
        ("pillow_heif.as_plugin", heic.getvalue(), "heic"),
        ("simplejpeg", JPEG, "images"),
        ("PIL.WebPImagePlugin", encoded(Image.fromarray(PICTURE), "WEBP"), "images"),
    ):
        with monkeypatch.context() as absent:
            absent.setitem(sys.modules, module, None)

            with pytest.raises(MissingExtraError, match=rf"pip install 'fornada\[{extra}\]'"):
                item(data, [20, 30, 3])


def test_all_modes_go_into_all_colours_by_every_loader() -> None:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        data = encoded(in_mode(mode, 40, 30), "PNG")
        for like in LOADERS:
            grey, rgb, rgba = (
                item(data, [30, 40, count], like=like, color=color)
                for count, color in ((1, "grayscale"), (3, "rgb"), (4, "rgba"))
            )

            np.testing.assert_array_equal(rgb, rgba[..., :3], err_msg=f"{mode} {like}")
            if mode in {"1", "L", "LA"}:
                np.testing.assert_array_equal(grey.repeat(3, axis=2), rgb, err_msg=mode)
            # TensorFlow's opaque is 1 where an image has 1 bit.
            if mode != "1":
                assert mode.endswith("A") == (rgba[..., 3].min() < 255), f"{mode} {like}"


def test_too_little_memory_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)

    with pytest.raises(MemoryError):
        item(PNG, [20, 30, 1])
