"""Photographs as folders have them: sizes, formats, modes, orientations, and broken files.

`python tests/photos.py FOLDER` writes them; the same each time.
"""

import importlib.util
import io
import struct
import sys
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Problem = Literal["empty", "truncated", "foreign", "bomb"]

_ORIENTATION = 0x0112


@dataclass(frozen=True, kw_only=True, slots=True)
class Photo:
    """What is known of a file."""

    #: Path relative to the folder, with `/`.
    name: str
    #: Size of the stored pixels; 0 where the file is broken.
    width: int = 0
    height: int = 0
    #: Pillow's mode; empty where the file is broken.
    mode: str = ""
    #: EXIF orientation.
    orientation: int = 1
    #: Why no image can be made of it.
    problem: Problem | None = None


def make_photos(folder: Path) -> list[Photo]:
    """Write the photographs below `folder`; the facts of all of them, sorted by name."""
    photos = []
    for photo, data in [*_sizes(), *_orientations(), *_modes(), *_formats(), *_broken()]:
        path = folder / photo.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        photos.append(photo)
    return sorted(photos, key=lambda photo: photo.name)


def add_litter(folder: Path) -> None:
    """What else lies in folders of photographs: two files nobody made, and one of the owner's."""
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(60))
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" + bytes(60))
    (folder / "labels.csv").write_text("file,label\nsizes/640x480.jpg,beach\n")


def scene(width: int, height: int, *, channels: int = 4, seed: int = 0) -> NDArray[np.uint8]:
    """A sky over the sea with a sun, and grain: uint8 [height, width, channels]."""
    across = np.linspace(-1, 1, width)[np.newaxis, :]
    down = np.linspace(-1, 1, height)[:, np.newaxis]
    sky = np.where(down < 0.2, 0.6 - 0.3 * down, 0.25 + 0.05 * np.sin(60 * down + 9 * across))
    sun = (across - 0.4) ** 2 + (down + 0.5) ** 2 < 0.05
    layers = [
        np.where(sun, 1.0, sky * 0.7 + 0.1 * across),
        np.where(sun, 0.9, sky * 0.8),
        np.where(sun, 0.3, sky + 0.1),
        np.clip(1.2 - (across**2 + down**2) / 2, 0, 1),
    ][:channels]
    grain = np.random.default_rng(seed).normal(0, 0.03, (height, width, channels))
    picture = np.stack(np.broadcast_arrays(*layers), axis=2) + grain
    return (picture.clip(0, 1) * 255).astype(np.uint8)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar archive of files, as the tar program writes it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def with_orientation(orientation: int) -> Image.Exif:
    """EXIF data that hold an orientation alone."""
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return exif


def png_that_declares(width: int, height: int, *, pixels: bytes = b"") -> bytes:
    """A PNG of 8-bit grey whose header says any size, whatever pixels it has."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (b"IHDR" + header, b"IDAT" + zlib.compress(pixels), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


def in_mode(mode: str, width: int = 120, height: int = 90) -> Image.Image:
    """The scene in one of Pillow's modes."""
    picture = scene(width, height)
    rgb = Image.fromarray(picture[..., :3])
    match mode:
        case "RGBA":
            return Image.fromarray(picture)
        case "LA":
            return Image.fromarray(np.ascontiguousarray(picture[..., 2:]))
        case "CMYK":
            return Image.frombytes("CMYK", (width, height), picture.tobytes())
        case "I;16":
            return Image.fromarray(picture[..., 0].astype(np.uint16) * 256 + 77)
        case "P":
            return rgb.quantize(60)
    return rgb.convert(mode)


def _good(name: str, image: Image.Image, file_format: str, **options: Any) -> tuple[Photo, bytes]:
    orientation = options.get("exif", {}).get(_ORIENTATION, 1)
    photo = Photo(
        name=name,
        width=image.width,
        height=image.height,
        mode=image.mode,
        orientation=orientation,
    )
    return photo, encoded(image, file_format, **options)


def _sizes() -> Iterator[tuple[Photo, bytes]]:
    for width, height in ((640, 480), (480, 640), (224, 224), (1600, 300), (31, 1024), (7, 5)):
        image = Image.fromarray(scene(width, height, channels=3))
        yield _good(f"sizes/{width}x{height}.jpg", image, "JPEG", quality=88)


def _orientations() -> Iterator[tuple[Photo, bytes]]:
    image = Image.fromarray(scene(120, 80, channels=3))
    for orientation in range(1, 9):
        exif = with_orientation(orientation)
        yield _good(f"turned/{orientation}.jpg", image, "JPEG", exif=exif)
    yield _good("turned/6.png", image, "PNG", exif=with_orientation(6))
    yield _good("turned/6.webp", image, "WEBP", exif=with_orientation(6))


def _modes() -> Iterator[tuple[Photo, bytes]]:
    for mode in ("L", "CMYK"):
        yield _good(f"modes/{mode}.jpg", in_mode(mode), "JPEG")
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        yield _good(f"modes/{mode}.png", in_mode(mode), "PNG")
    yield _good("modes/16 bit.png", in_mode("I;16"), "PNG")
    see_through = bytes(range(60))
    yield _good("modes/P transparent.png", in_mode("P"), "PNG", transparency=see_through)
    yield _good("modes/P transparent.gif", in_mode("P"), "GIF", transparency=3)


def _formats() -> Iterator[tuple[Photo, bytes]]:
    image = Image.fromarray(scene(150, 100, channels=3))
    later = Image.fromarray(scene(150, 100, channels=3, seed=1))
    frames = {"save_all": True, "append_images": [later]}
    yield _good("formats/progressive.jpeg", image, "JPEG", progressive=True)
    yield _good("formats/photo.JPG", image, "JPEG", subsampling="4:4:4")
    yield _good("formats/photo.webp", image, "WEBP")
    yield _good("formats/animated.webp", image, "WEBP", **frames)
    yield _good("formats/photo.tiff", image, "TIFF", compression="tiff_lzw")
    yield _good("formats/pages.tif", image, "TIFF", **frames)
    yield _good("formats/photo.bmp", image, "BMP")
    yield _good("formats/photo.gif", image.quantize(128), "GIF")
    yield _good("formats/animated.gif", image.quantize(128), "GIF", **frames)
    yield _good("formats/animated.png", image, "PNG", **frames)
    yield _good("formats/photo.avif", image, "AVIF")
    yield _good("formats/férias na praia.jpg", image, "JPEG")
    yield _good("formats/a png by its bytes.jpg", image, "PNG")
    if importlib.util.find_spec("pillow_heif"):
        from pillow_heif import from_pillow  # noqa: PLC0415 - optional package

        file = io.BytesIO()
        from_pillow(image).save(file, quality=80)
        photo = Photo(name="formats/photo.heic", width=150, height=100, mode="RGB")
        yield photo, file.getvalue()


def _broken() -> Iterator[tuple[Photo, bytes]]:
    image = Image.fromarray(scene(150, 100, channels=3))
    halves = {
        "jpg": encoded(image, "JPEG"),
        "png": encoded(image, "PNG"),
        "webp": encoded(image, "WEBP"),
        "gif": encoded(image.quantize(64), "GIF"),
    }
    for suffix, data in halves.items():
        yield _bad(f"broken/half.{suffix}", "truncated"), data[: len(data) // 2]
    yield _bad("broken/empty.jpg", "empty"), b""
    yield _bad("broken/page not found.jpg", "foreign"), b"<!doctype html><title>404</title>\n"
    yield _bad("broken/letter.png", "foreign"), b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    yield _bad("broken/bomb.png", "bomb"), png_that_declares(50_000, 50_000)


def _bad(name: str, problem: Problem) -> Photo:
    return Photo(name=name, problem=problem)


if __name__ == "__main__":
    for made in make_photos(Path(sys.argv[1])):
        print(made)  # noqa: T201 - a script
