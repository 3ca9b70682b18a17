"""Images are decoded at the same time as far as there is memory, by the size that they declare."""

import concurrent.futures
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


@pytest.mark.parametrize("limit_images", [0.5, 1, 1.9])
def test_an_image_waits_until_there_is_memory_for_it(limit_images: float) -> None:
    image = _encoded("PNG")
    happened = []

    with DecoderPool(2, limit_bytes=int(limit_images * decoding_bytes(image))) as pool:

        def decode() -> None:
            with pool.memory_for(image):
                happened.append("second begins")

        with pool.memory_for(image):
            second = pool.submit(decode)
            concurrent.futures.wait([second], timeout=0.1)
            happened.append("first ends")
        second.result(timeout=30)

    assert ["first ends", "second begins"] == happened


def test_as_many_images_are_decoded_together_as_there_is_memory_for() -> None:
    image = _encoded("PNG")
    all_there = threading.Barrier(2)

    with DecoderPool(2, limit_bytes=2 * decoding_bytes(image)) as pool:

        def decode() -> None:
            with pool.memory_for(image):
                all_there.wait(timeout=30)

        for done in [pool.submit(decode) for _ in range(4)]:
            done.result(timeout=30)
