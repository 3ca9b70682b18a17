"""Images with some bytes changed, as by a bad disk or a bad sender, give items or input errors."""

import io
import warnings
from itertools import product

import numpy as np
import pytest

from fornada.errors import InputError
from fornada.formats.images import decode_item, has_ignored_orientation
from fornada.tensors import ImagePreprocessing, InputTensor

from ....photos import encoded, in_mode, with_orientation

KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIC")
MODES = ("RGB", "L", "RGBA", "P", "1", "I;16", "CMYK")
#: Loader, colour and shape, resize.
TAKEN = [
    InputTensor(
        name="x",
        dtype="uint8",
        shape=shape,
        image=ImagePreprocessing.model_validate(
            {"like": like, "color": color, "resize": resize, "exif": exif}
        ),
    )
    for like, (color, shape, resize, exif) in product(
        ("image_dataset_from_directory", "load_img", "exact"),
        (
            ("rgb", [24, 24, 3], "stretch", True),
            ("grayscale", [None, None, 1], "none", False),
            ("rgba", [24, 20, 4], "pad", False),
        ),
    )
]


def whole_files(kind: str) -> list[bytes]:
    """Small files of one kind, as many as there are modes and ways to compress."""
    if kind == "HEIC":
        files = []
        for mode in ("RGB", "L", "RGBA"):
            file = io.BytesIO()
            pytest.importorskip("pillow_heif").from_pillow(in_mode(mode, 40, 30)).save(file)
            files.append(file.getvalue())
        return files
    later = in_mode("RGB", 40, 30).rotate(180)
    options: list[dict[str, object]] = [{}, {"exif": with_orientation(6)}]
    if kind not in {"BMP", "JPEG"}:
        options.append({"save_all": True, "append_images": [later]})
    if kind == "JPEG":
        options.append({"progressive": True, "subsampling": "4:2:2"})
    if kind == "TIFF":
        names = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4", "zstd")
        options.extend({"compression": name} for name in names)
        options.append({"big_tiff": True})
    files = []
    for mode, option in product(MODES, options):
        try:
            files.append(encoded(in_mode(mode, 40, 30), kind, **option))
        except (OSError, RuntimeError, ValueError):  # The kind has no such mode or compression.
            continue
    return files


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """The file with one to four places changed; most of them in its header."""
    file = bytearray(data)
    for _ in range(random.integers(1, 5)):
        end = min(len(file), 150) if random.random() < 0.6 else len(file)
        at = int(random.integers(0, max(end, 1)))
        count = int(random.integers(1, 9))
        match random.integers(0, 7):
            case 0 | 1:
                file[at : at + 1] = random.bytes(1)
            case 2:
                file[at : at + 1] = bytes([file[at] ^ 1 << count - 1]) if at < len(file) else b""
            case 3:
                file[at : at + 4] = bytes([random.choice([0, 1, 127, 128, 255])]) * 4
            case 4:
                del file[at : at + count]
            case 5:
                file[at:at] = random.bytes(count)
            case 6:
                other = int(random.integers(0, max(len(file), 1)))
                file[at : at + 8] = file[other : other + 8]
    return bytes(file if random.random() < 0.9 else file[: random.integers(0, len(file) + 1)])


def decode_damaged(kind: str, *, count: int) -> int:
    """Decode `count` damaged files; how many of them still are images."""
    files = whole_files(kind)
    random = np.random.default_rng(KINDS.index(kind))
    messages: list[str] = []
    for _ in range(count):
        data = damaged(files[random.integers(len(files))], random)
        taken = TAKEN[random.integers(len(TAKEN))]
        try:
            with warnings.catch_warnings(action="ignore"):
                has_ignored_orientation(data)
                item = decode_item(data, taken=taken, where="a.jpg")
        except InputError as exc:
            messages.append(str(exc))
        else:
            assert np.uint8 == item.dtype
            assert len(taken.shape) == item.ndim
            assert all(want in {None, have} for want, have in zip(taken.shape, item.shape))  # noqa: B905 - equal, see above
    assert all("\n" not in message and len(message) < 400 for message in messages)
    return count - len(messages)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_give_items_or_input_errors(kind: str) -> None:
    good = decode_damaged(kind, count=150)

    assert good < 150
    # A PNG has checksums.
    assert good > 0 or kind == "PNG"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_give_items_or_input_errors(kind: str) -> None:
    assert 0 < decode_damaged(kind, count=5000) < 5000


def test_files_that_end_anywhere_give_items_or_input_errors() -> None:
    for kind, taken in product(KINDS[:-1], TAKEN[::3]):
        data = encoded(in_mode("RGB", 40, 30), kind)
        for end in range(0, len(data), max(1, len(data) // 60)):
            try:
                decode_item(data[:end], taken=taken, where="a.jpg")
            except InputError:
                continue
            # Of a BMP or TIFF the end may hold nothing that matters.
            assert kind in {"BMP", "TIFF"} or end > len(data) - 20, (kind, end, len(data))
