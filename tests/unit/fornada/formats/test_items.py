"""Arrays as bytes: what is claimed is checked, and what does not fit is said in one line."""

import io
import re
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib import format as npy_format

from fornada.errors import InputError
from fornada.formats.items import check_items, check_shape
from fornada.formats.npy import MAX_HEADER_BYTES, from_npy, read_npy_header, to_npy

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def npy_with_header(header: str, *, version: bytes = b"\1\0", data: bytes = b"") -> bytes:
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(header))
    return b"\x93NUMPY" + version + length + header.encode("latin-1") + data


@given(
    hnp.arrays(
        dtype=hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | hnp.floating_dtypes(),
        shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
@settings(deadline=None)
def test_every_plain_array_survives(array: np.ndarray) -> None:
    back = from_npy(to_npy(array), where="x.npy")

    assert (array.dtype, array.shape) == (back.dtype, back.shape)
    assert array.tobytes() == back.tobytes()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_all_format_versions_of_numpy_are_read(version: tuple[int, int]) -> None:
    file = io.BytesIO()
    npy_format.write_array(file, IMAGES, version=version, allow_pickle=False)

    back = from_npy(file.getvalue(), where="x.npy")

    np.testing.assert_array_equal(IMAGES, back)


@pytest.mark.parametrize(
    "header",
    [
        "{'shape': (2L, 3L), 'descr': '<f4', 'fortran_order': False}",
        '{"descr":"<f4","fortran_order":False,"shape":(2,3)}',
        "{'descr': '<f4', 'fortran_order': True, 'shape': (6,), }      \n",
    ],
)
def test_headers_of_other_writers_are_read(header: str) -> None:
    data = npy_with_header(header, data=bytes(24))

    array = from_npy(data, where="x.npy")

    assert 6 == array.size
    assert np.dtype("<f4") == array.dtype


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"PK\3\4 is a zip", "it looks like a .zip archive"),
        (b"SECRET", "it looks like text"),
        (b"\1\2", "its first bytes are of no known kind"),
        (b"\0\0", "it begins with zeros"),
        (npy_with_header("{}"), "its header is '{}'"),
        (npy_with_header("{'descr': 'x', 'fortran_order': False, 'shape': (1,)}"), "header is"),
        (npy_with_header("{'descr': '<q9', 'fortran_order': False, 'shape': (1,)}"), "header is"),
        (npy_with_header("{'descr': '<f3', 'fortran_order': False, 'shape': (1,)}"), "header is"),
        (npy_with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}"), "header is"),
        (npy_with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1 2)}"), "header is"),
        (npy_with_header("{'descr': '|u1', 'descr': '|u1', 'shape': (1,)}"), "its header is"),
        (npy_with_header("("), "its header is '('"),
        (to_npy(IMAGES)[:40], "cut off"),
        (npy_with_header(" " * 2 * MAX_HEADER_BYTES), "far too long"),
        (npy_with_header("{}", version=b"\7\7"), "format version"),
    ],
)
def test_unreadable_headers_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)) as caught:
        read_npy_header(data[:MAX_HEADER_BYTES], where="x.npy")

    assert "allow_pickle=False" in str(caught.value)
    assert "\n" not in str(caught.value)


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def with_shape(shape: str, *, data: bytes = b"\0") -> bytes:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}"
    return npy_with_header(header, data=data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (saved(np.array([{"a": 1}], dtype=object)), "Python objects, which are never loaded"),
        (saved(np.zeros(2, dtype=[("a", "<i4")])), "columns, which are never loaded"),
        (saved(np.asfortranarray(IMAGES)), r"Fortran order; save numpy\.ascontiguousarray"),
        (with_shape("(100000, 1000, 1000)", data=bytes(9)), "claims 100000000000 .* and has 9; it"),
        (to_npy(IMAGES)[:-1], "claims 24 bytes"),
        (to_npy(IMAGES) + b"\0", "claims 24 bytes"),
        (with_shape("(0, 9999999999999999999999)"), "impossible shape"),
        (with_shape(f"({'1, ' * 33})"), "impossible shape"),
        (with_shape("(0, 4611686018427387904, 4)"), "impossible shape"),
    ],
)
def test_what_is_no_plain_array_of_the_claimed_size_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        from_npy(data, where="x.npy")


@given(st.binary(max_size=300), st.sampled_from([b"\1\0", b"\2\0", b"\3\0"]))
@settings(deadline=None)
def test_any_bytes_give_an_array_or_an_input_error(data: bytes, version: bytes) -> None:
    for candidate in (data, b"\x93NUMPY" + version + data):
        with suppress(InputError):
            from_npy(candidate, where="x.npy")


@given(st.text(alphabet="{}()[]'\",: \n\tLdescrfortan_shp0123456789<|u-+", max_size=2000))
@settings(deadline=None)
def test_any_header_gives_an_array_or_an_input_error(header: str) -> None:
    with suppress(InputError):
        from_npy(npy_with_header(header, version=b"\2\0"), where="x.npy")


def test_a_hostile_header_is_refused_quickly() -> None:
    padding = " " * (MAX_HEADER_BYTES // 2 - 100)
    header = f"{{'descr'{padding}: '|u1',{padding}x"

    with pytest.raises(InputError, match="not a readable"):
        from_npy(npy_with_header(header), where="x.npy")


def test_any_order_in_memory_is_written_in_c_order() -> None:
    back = from_npy(to_npy(np.asfortranarray(IMAGES)), where="x.npy")

    np.testing.assert_array_equal(IMAGES, back)


def checked(array: np.ndarray, *, item_dtype: str = "uint8") -> np.ndarray:
    return check_items(array, item_shape=[3, 4], item_dtype=item_dtype, model="m:1")


def test_items_that_fit_are_not_copied() -> None:
    assert IMAGES is checked(IMAGES)


def test_a_grey_axis_is_dropped_and_added() -> None:
    dropped = checked(IMAGES[..., np.newaxis])
    added = check_items(IMAGES, item_shape=[3, 4, 1], item_dtype="uint8", model="m:1")

    np.testing.assert_array_equal(IMAGES, dropped)
    np.testing.assert_array_equal(IMAGES[..., np.newaxis], added)


def test_whole_numbers_in_range_are_cast() -> None:
    for have, want in (
        ("int64", "uint8"), ("uint16", "uint8"), (">i4", "uint8"), ("int8", "uint8"),
        ("uint8", "float32"), ("uint8", "float16"), ("uint64", "int64"), (">f8", "float32"),
        ("int8", "uint64"), ("float16", "float64"),
    ):  # fmt: skip
        items = checked(IMAGES.astype(have), item_dtype=want)

        np.testing.assert_array_equal(IMAGES.astype(want), items, strict=True)


@pytest.mark.parametrize(
    ("array", "item_dtype", "reason"),
    [
        (np.zeros((0, 3, 4), np.uint8), "uint8", "empty; give at least one item"),
        (np.zeros((2, 0, 4), np.uint8), "uint8", "empty"),
        (np.array(7, np.uint8), "uint8", "a single value"),
        (np.zeros((2, 4, 3), np.uint8), "uint8", r"items of shape \(4, 3\), but m:1 takes \(3, 4"),
        (IMAGES[0], "uint8", r"one item\? give it a leading axis"),
        (IMAGES.astype(np.float64) / 255, "uint8", "give the raw pixels as uint8"),
        (np.full((2, 3, 4), 0.5), "int32", "give the raw tokens as int32"),
        (IMAGES.astype(np.int64) * 100, "uint8", "values from 0 to 2300 do not fit uint8"),
        (IMAGES.astype(np.int64) - 5, "uint8", "values from -5 to 18 do not fit uint8"),
        (IMAGES.astype(str), "uint8", "not numeric"),
        (IMAGES.astype(object), "uint8", "not numeric"),
        (IMAGES.astype(complex), "uint8", "not numeric"),
        (IMAGES.astype("M8[s]"), "float32", "not numeric"),
        (IMAGES, "bool", "values from 0 to 23 do not fit bool"),
        (IMAGES * np.uint64(2**60), "int64", "values from 0 to 17293822569102704640 do not fit"),
        (IMAGES / 2, "bool", "give the raw zeros and ones as bool"),
    ],
)
def test_items_that_do_not_fit_are_refused(array: np.ndarray, item_dtype: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        checked(array, item_dtype=item_dtype)


def test_truth_values_may_be_zeros_and_ones() -> None:
    truth = IMAGES > 5

    for have in ("bool", "uint8", "float32"):
        items = checked(truth.astype(have), item_dtype="bool")

        np.testing.assert_array_equal(truth, items, strict=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_no_finite_number_passes_and_is_the_fault_of_its_item(bad: float) -> None:
    array = IMAGES.astype(np.float64)
    array[1, 2, 3] = bad

    found = checked(array, item_dtype="float32")

    assert [True, False] == np.isfinite(found).reshape(2, -1).all(axis=1).tolist()


@pytest.mark.parametrize(
    ("have", "want", "fitted"),
    [
        ((5, 7), [None], (7,)),
        ((5, 7, 1), [None], (7,)),
        ((5, 0), [None], None),
        ((5,), [None], None),
        ((5, 8, 9, 3), [None, None, 3], (8, 9, 3)),
        ((5, 8, 9), [None, None, 1], (8, 9, 1)),
        ((5, 8, 9, 1), [None, None, 3], None),
        ((5,), [], ()),
        ((5, 1), [], ()),
        ((5,), [1], (1,)),
    ],
)
def test_sides_that_vary_take_any_length_from_one_on(
    have: tuple[int, ...], want: list[int | None], fitted: tuple[int, ...] | None
) -> None:
    if fitted is not None:
        assert fitted == check_shape(have, want, model="m:1", where="x")
        return
    with pytest.raises(InputError, match=r"m:1 takes|is empty"):
        check_shape(have, want, model="m:1", where="x")
