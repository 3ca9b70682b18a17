"""Images of models from before images were resized: modes, orientations, broken files."""

import io
import struct
import sys
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fornada.errors import InputError, MissingExtraError
from fornada.formats.images import decode_item, image_shape
from fornada.tensors import unnamed_tensors

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)


def png(array: np.ndarray, **options: object) -> bytes:
    return saved(Image.fromarray(array), "PNG", **options)


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_declares(width: int, height: int, *, pixels: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(pixels)
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def decode(data: bytes, *item_shape: int) -> np.ndarray:
    taken, _ = unnamed_tensors(item_shape=item_shape or (4, 5), item_dtype="uint8", classes=["a"])
    return decode_item(data, taken=taken, where="photo.png")


def test_a_png_is_its_pixels() -> None:
    for array, item_shape in ((GREY, (4, 5)), (GREY, (4, 5, 1)), (COLOUR, (4, 5, 3))):
        pixels = decode(png(array), *item_shape)

        np.testing.assert_array_equal(array.reshape(item_shape), pixels, strict=True)


def test_a_jpeg_is_nearly_its_pixels() -> None:
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)

    pixels = decode(saved(Image.fromarray(smooth), "JPEG", quality=95), 64, 64)

    np.testing.assert_allclose(smooth, pixels, atol=6)


def test_grey_and_colour_are_converted() -> None:
    grey_of_colour = np.asarray(Image.fromarray(COLOUR).convert("L"))

    np.testing.assert_array_equal(np.stack([GREY] * 3, axis=2), decode(png(GREY), 4, 5, 3))
    np.testing.assert_array_equal(grey_of_colour, decode(png(COLOUR)))


def test_alpha_is_dropped_as_in_training() -> None:
    alpha = np.full((4, 5, 1), 7, np.uint8)

    pixels = decode(png(np.concatenate([COLOUR, alpha], axis=2)), 4, 5, 3)

    np.testing.assert_array_equal(COLOUR, pixels)


def test_palettes_are_looked_up_also_with_transparency() -> None:
    palette = Image.fromarray(COLOUR).convert("P", palette=Image.Palette.ADAPTIVE)
    data = saved(palette, "PNG", transparency=bytes(range(20)))

    pixels = decode(data, 4, 5, 3)

    np.testing.assert_array_equal(np.asarray(palette.convert("RGB")), pixels)


@pytest.mark.parametrize("item_shape", [(4, 5), (4, 5, 3)])
def test_of_16_bits_the_upper_8_are_taken(item_shape: tuple[int, ...]) -> None:
    deep = png(GREY.astype(np.uint16) * 256 + 99)

    pixels = decode(deep, *item_shape)

    np.testing.assert_array_equal(GREY, pixels if pixels.ndim == 2 else pixels[..., 1])


def test_black_and_white_is_0_and_255() -> None:
    data = saved(Image.fromarray(GREY > 100), "PNG")

    np.testing.assert_array_equal(np.where(GREY > 100, 255, 0), decode(data))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_photographs_are_turned_upright(file_format: str) -> None:
    upright = np.zeros((16, 24), np.uint8)
    upright[:8, :8] = 255
    # A camera stores the inverse of the turn that a viewer makes.
    by_orientation = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }
    for orientation, stored in by_orientation.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = saved(Image.fromarray(np.ascontiguousarray(stored)), file_format, exif=exif)

        np.testing.assert_allclose(upright, decode(data, 16, 24), atol=20)
        assert (16, 24) == image_shape(data, where="photo")


def test_damaged_exif_data_mean_upright() -> None:
    for exif in (b"MM\0*\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\1" + b"\xff" * 20, b"", b"garbage"):
        data = png(GREY, exif=b"Exif\0\0" + exif)

        np.testing.assert_array_equal(GREY, decode(data))


def test_another_size_is_refused_with_both_sizes() -> None:
    for data, item_shape, why in (
        (png(GREY), (28, 28), r"photo\.png is 5x4 pixels, and the model takes 28x28"),
        (
            png(np.ascontiguousarray(GREY.T)),
            (4, 5),
            "is 4x5 pixels.* takes 5x4 .*; resize",
        ),
    ):
        with pytest.raises(InputError, match=why):
            decode(data, *item_shape)


def test_a_model_that_takes_no_images_is_named() -> None:
    for item_shape in ((10,), (4, 5, 2), (1, 4, 5, 3)):
        with pytest.raises(InputError, match=r"neither grey nor RGB images; give arrays"):
            decode(png(GREY), *item_shape)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is an empty file; write it again"),
        (b"GIF89a" + bytes(20), "broken image"),
        (b"%PDF-1.7 " + bytes(20), "is not an image that can be read .it looks like a PDF"),
        (png(GREY)[:20], "broken image"),
        (png(GREY)[:-1], "file is truncated"),
        (png(GREY)[:-12], "broken image"),
        (png(GREY)[:-30], "broken image"),
        (png(GREY).replace(b"IDAT", b"IDAX"), "broken PNG"),
        (png_that_declares(5, 4, pixels=bytes(3)), "broken image"),
        # One bit of the pixels is flipped.
        (png(GREY).replace(b"IDATx\x9c", b"IDATx\x9d"), "broken PNG"),
        (b"\xff\xd8\xff", "broken image"),
        (saved(Image.fromarray(GREY), "JPEG")[:-40], "broken image"),
    ],
)
def test_broken_files_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        decode(data)

    assert "\n" not in str(caught.value)


def test_of_an_animated_png_the_first_frame_is_taken() -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(GREY[::-1].copy())]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])

    np.testing.assert_array_equal(GREY, decode(data))


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = png_that_declares(50_000, 50_000, pixels=bytes(50_000_000))
    tracemalloc.start()

    for look in (decode, lambda data: image_shape(data, where="photo.png")):
        with pytest.raises(InputError, match="is 50000x50000 pixels"):
            look(bomb)

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.PngImagePlugin", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'fornada\[images\]'"):
        decode(png(GREY))


def test_threads_decode_at_the_same_time() -> None:
    data = png(COLOUR)

    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda _: decode(data, 4, 5, 3), range(200)))

    assert all(np.array_equal(COLOUR, image) for image in images)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]))
@settings(deadline=None)
def test_any_bytes_give_pixels_or_an_input_error(data: bytes, head: bytes) -> None:
    with suppress(InputError):
        decode(head + data)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(b"IHDR PLTE IDAT tRNS iCCP zTXt iTXt eXIf fcTL pHYs gAMA".split()),
            st.binary(max_size=40),
        ),
        max_size=5,
    )
)
@settings(max_examples=300, deadline=None)
def test_png_chunks_of_any_content_give_pixels_or_an_input_error(
    chunks: list[tuple[bytes, bytes]],
) -> None:
    begin = png_that_declares(5, 4, pixels=bytes(24))[:33]
    rest = png_that_declares(5, 4, pixels=bytes(24))[33:]
    data = begin + b"".join(chunk(kind, content) for kind, content in chunks) + rest

    with suppress(InputError):
        decode(data)
