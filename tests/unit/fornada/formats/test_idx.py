"""IDX files: real ones, and damaged and hostile ones."""

import gzip
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fornada.errors import InputError
from fornada.formats.idx import IDX_DTYPES, read_idx

SAMPLE = Path(__file__).parents[5] / "shared" / "data" / "fashion-mnist-sample"
MAX_BYTES = 1_000_000

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def to_idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    sides = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + sides + array.astype(IDX_DTYPES[kind]).tobytes()


def read(data: bytes, *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    return read_idx(data, where="x-ubyte.gz", max_bytes=max_bytes)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the Fashion-MNIST sample is not here")
def test_real_fashion_mnist_is_read() -> None:
    images = read((SAMPLE / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = read((SAMPLE / "t10k-labels-idx1-ubyte.gz").read_bytes())

    assert (120, 28, 28) == images.shape
    assert np.dtype(np.uint8) == images.dtype
    assert 255 == images.max()
    assert set(range(10)) == set(labels.tolist())


@pytest.mark.parametrize("kind", IDX_DTYPES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_type_is_read_in_native_byte_order(kind: int, pack: type[bytes]) -> None:
    array = read(pack(to_idx(IMAGES, kind)))

    assert array.dtype.isnative
    np.testing.assert_array_equal(IMAGES, array)


def test_gzip_members_in_a_row_are_one_file() -> None:
    data = to_idx(IMAGES)

    array = read(gzip.compress(data[:10], mtime=0) + gzip.compress(data[10:]))

    np.testing.assert_array_equal(IMAGES, array)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x08", "not an IDX file"),
        (b"\0\0\x07\1\0\0\0\1\0", "not an IDX file"),
        (b"\1\0\x08\1\0\0\0\1\0", "not an IDX file"),
        (b"\0\0\x08\0", "claims 0 dimensions"),
        (b"\0\0\x08\xff" + bytes(2000), "claims 255 dimensions"),
        (b"\0\0\x08\3\0\0\0\1\0", "header is truncated"),
        (to_idx(IMAGES)[:-1], "claims 24 bytes .* and has 23; it is truncated"),
        (to_idx(IMAGES) + b"\0", "more data than its shape"),
        (to_idx(IMAGES[:0]), "is empty"),
        (b"\0\0\x08\3" + b"\xff" * 12, "more than 1000000; split it"),
        (gzip.compress(b"hello", mtime=0), "not an IDX file"),
        (gzip.compress(to_idx(IMAGES), mtime=0)[:-1], "damaged gzip file"),
        (gzip.compress(to_idx(IMAGES), mtime=0)[:20], "damaged gzip file"),
        (gzip.compress(to_idx(IMAGES), mtime=0)[:-6] + b"123456", "damaged gzip file"),
        (b"\x1f\x8bnonsense", "damaged gzip file"),
    ],
)
def test_damaged_files_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read(data)

    assert "x-ubyte.gz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gzip_bomb_takes_no_more_memory_than_it_claims() -> None:
    bomb = gzip.compress(to_idx(IMAGES) + bytes(100_000_000), compresslevel=1, mtime=0)
    tracemalloc.start()

    with pytest.raises(InputError, match="more data than its shape"):
        read(bomb)

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < MAX_BYTES


@given(
    st.binary(max_size=100), st.sampled_from([b"", b"\0\0\x08\1", b"\0\0\x0d\2", b"\x1f\x8b\x08"])
)
@settings(deadline=None)
def test_any_bytes_give_an_array_or_an_input_error(data: bytes, head: bytes) -> None:
    with suppress(InputError):
        read(head + data)
