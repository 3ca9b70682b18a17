"""A damaged array or image file gives an array or our error, in bounded memory.

Hostile files are tested beside their readers.
"""

import gzip
import io
import struct
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from fornada.errors import InputError
from fornada.formats.idx import read_idx
from fornada.formats.images import decode_image, image_shape
from fornada.formats.npy import from_npy, to_npy

from .fuzzing import EDITS, FUZZED, Edit, edited, little_memory, obeyed

_IMAGES = np.random.default_rng(1).integers(0, 256, (6, 12, 10), np.uint8)
_MOST_BYTES = 1_000_000


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    with little_memory():
        yield


@given(edits=EDITS)
@FUZZED
def test_a_damaged_npy_is_an_array_or_refused(edits: list[Edit]) -> None:
    damaged = edited(to_npy(_IMAGES), edits)

    array = obeyed(lambda: from_npy(damaged, where="here"), InputError)

    assert array is None or array.nbytes <= len(damaged)


@cache
def _idx() -> bytes:
    head = bytes([0, 0, 0x08, _IMAGES.ndim]) + struct.pack(f">{_IMAGES.ndim}I", *_IMAGES.shape)
    return head + _IMAGES.tobytes()


@pytest.mark.parametrize("packed", [False, True])
@given(edits=EDITS)
@FUZZED
def test_a_damaged_idx_is_an_array_or_refused(packed: bool, edits: list[Edit]) -> None:  # noqa: FBT001 - a parameter of the test
    damaged = edited(gzip.compress(_idx(), mtime=0) if packed else _idx(), edits)

    array = obeyed(lambda: read_idx(damaged, where="here", max_bytes=_MOST_BYTES), InputError)

    assert array is None or array.nbytes <= _MOST_BYTES


@cache
def _image(file_format: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(_IMAGES[0]).save(file, file_format)
    return file.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@given(edits=EDITS)
@FUZZED
def test_a_damaged_image_is_pixels_or_refused(file_format: str, edits: list[Edit]) -> None:
    damaged = edited(_image(file_format), edits)

    shape = obeyed(lambda: image_shape(damaged, where="here"), InputError)
    pixels = obeyed(
        lambda: decode_image(damaged, item_shape=_IMAGES.shape[1:], where="here"), InputError
    )

    assert pixels is None or _IMAGES.shape[1:] == pixels.shape
    assert pixels is None or shape is not None
