"""Pictures of items, written anew: what a browser decodes is never what a stranger made."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fornada.errors import InputError
from fornada.formats.images import DecoderPool
from fornada.formats.images.decoder_pool import decoding_bytes
from fornada.formats.images.opening import check_png, check_scans, decoding, open_image, sniff
from fornada.formats.images.orientation import turn_upright
from fornada.formats.items import Array
from fornada.tensors import ImagePreprocessing, InputTensor, default_image

#: The longer side of a picture in a list, and on the page of an item.
THUMBNAIL, LARGE = 192, 960
#: What all pictures that are decoded at a time may take; a larger one is not shown.
MAX_DECODING_BYTES = 512 * 1024 * 1024
#: Up to this size a picture of an array is shown enlarged, each of its pixels a square.
_SMALL = 96
_THREADS = 2
_WHITE = 255


class Pictures:
    """Decodes and encodes pictures, within bounds of memory. Safe to share between threads."""

    def __init__(self) -> None:
        self._pool = DecoderPool(_THREADS, limit_bytes=MAX_DECODING_BYTES)

    def of_file(self, data: bytes, *, longest: int) -> Image.Image:
        """The picture in an image file, upright, at most `longest` pixels a side.

        Raises:
            InputError: It is broken, or too large.
            MissingExtraError: What decodes it is not installed.
        """
        needed_bytes = decoding_bytes(data)
        if needed_bytes > MAX_DECODING_BYTES:
            raise InputError("the picture is too large to be shown here; download it")
        with self._pool.memory_for(data):
            return self._pool.submit(_decoded, data, longest).result()


def _decoded(data: bytes, longest: int) -> Image.Image:
    kind = sniff(data, where="the file")
    image: Image.Image = open_image(data, kind, where="the file")
    if kind == "JPEG":
        check_scans(data, *image.size, where="the file")
        # The decoder shrinks by itself, at a fraction of the time.
        image.draft("RGB", (longest, longest))
    with decoding(where="the file"):
        if kind == "PNG":
            check_png(data)
        image.load()
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        image.thumbnail((longest, longest))
        turn_upright(image)
        return _flat(image)


def _flat(image: Image.Image) -> Image.Image:
    """The image in RGB, on white where it is transparent."""
    if "transparency" in image.info or image.mode in {"LA", "PA", "RGBA"}:
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, (_WHITE, _WHITE, _WHITE))
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")


def image_of(taken: InputTensor) -> ImagePreprocessing | None:
    """How an input's items are images; `None` if they are none."""
    if taken.dtype == "string":
        return None
    return taken.image or default_image(taken.shape)


def of_array(array: Array, *, longest: int) -> Image.Image:
    """The picture of an item [height, width] or [height, width, 1, 3 or 4], of any range."""
    # A large item is not held a second time as floats.
    step = max(1, max(array.shape[:2]) // (2 * longest))
    pixels = _as_bytes(array[::step, ::step])
    if pixels.ndim == 3 and pixels.shape[2] == 1:  # noqa: PLR2004 - with channels
        pixels = pixels[..., 0]
    image = _flat(Image.fromarray(np.ascontiguousarray(pixels)))
    image.thumbnail((longest, longest))
    return image


def _as_bytes(array: Array) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return np.asarray(array, np.uint8)
    numbers = np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 0.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= _WHITE:
        low, high = 0.0, float(_WHITE)
    scaled = (numbers - low) * (_WHITE / max(high - low, 1e-12))
    return scaled.round().astype(np.uint8)


def is_small(image: Image.Image) -> bool:
    """Whether a picture is shown enlarged."""
    return max(image.size) <= _SMALL


def encoded(image: Image.Image) -> tuple[bytes, str]:
    """The bytes of a picture, and their type: small ones exactly, photographs as WebP."""
    file = io.BytesIO()
    if is_small(image):
        image.save(file, "PNG", optimize=True)
        return file.getvalue(), "image/png"
    image.save(file, "WEBP", quality=82, method=4)
    return file.getvalue(), "image/webp"
