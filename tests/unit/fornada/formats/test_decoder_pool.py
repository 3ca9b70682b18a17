"""Images are decoded at the same time as far as there is memory, by the size that they declare."""

import io
import threading

import pytest
from PIL import Image

from fornada.formats.images import DecoderPool
from fornada.formats.images.decoder_pool import decoding_bytes


def _encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (40, 30)).save(file, kind, **options)
    return file.getvalue()


def test_what_an_image_takes_follows_from_the_size_that_it_declares() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    pixels = 40 * 30
    for data in (
        *map(_encoded, ("PNG", "TIFF", "BMP", "GIF", "AVIF", "HEIF", "WEBP")),
        _encoded("WEBP", lossless=True),
        _encoded("WEBP", "RGBA", exif=b"Exif\0\0"),
    ):
        assert 18 * pixels == decoding_bytes(data), data[:16]
    assert 10 * pixels == decoding_bytes(_encoded("JPEG"))
    # a frame of a GIF may be larger than the file says
    gif = bytearray(_encoded("GIF"))
    gif[6:10] = b"\1\0\1\0"
    assert 18 * pixels == decoding_bytes(bytes(gif))
    # what is refused at once takes none
    for data in (b"", b"text", _encoded("PNG")[:20]):
        assert 0 == decoding_bytes(data)


@pytest.mark.parametrize(("limit_images", "at_once_count"), [(0.5, 1), (1, 1), (2.9, 2)])
def test_images_wait_while_there_is_no_memory_for_them(
    limit_images: float, at_once_count: int
) -> None:
    image = _encoded("PNG")
    at_once, most, lock = 0, 0, threading.Lock()
    all_there = threading.Barrier(at_once_count)

    def decode(pool: DecoderPool) -> None:
        nonlocal at_once, most
        with pool.memory_for(image):
            with lock:
                at_once += 1
                most = max(most, at_once)
            all_there.wait(timeout=30)
            with lock:
                at_once -= 1

    with DecoderPool(4, limit_bytes=int(limit_images * decoding_bytes(image))) as pool:
        for done in [pool.submit(decode, pool) for _ in range(8)]:
            done.result(timeout=30)

    assert at_once_count == most
