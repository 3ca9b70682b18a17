"""Anything that is data goes into `submit` and `predict`; the rest is refused in one sentence."""

import array
import datetime as dt
import io
import itertools
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fornada.errors import InputError, UsageError
from fornada.formats.rows import Rows
from producer import Client, ItemBlock
from producer.testing import in_memory_client

BYTES = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
FLOATS = np.arange(6, dtype=np.float32).reshape(2, 3)
#: What the models answer: the sum of an item.
SUMS = [6.0, 22.0, 38.0]


def _sums(rows: NDArray[np.generic]) -> NDArray[np.generic]:
    return rows.reshape(len(rows), -1).sum(axis=1, dtype=np.float32, keepdims=True)


def client_for(shape: list[int | None], dtype: str) -> Client:
    return in_memory_client(
        model="m", item_shape=shape, item_dtype=dtype, classes=["sum"], predict=_sums
    )


IMAGES = client_for([2, 2], "uint8")
VECTORS = client_for([3], "float32")
TOKENS = client_for([None], "int32")
PICTURES = client_for([2, 2, 3], "uint8")


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Iterator[None]:
    yield
    for client in (IMAGES, VECTORS, TOKENS, PICTURES):
        client.close()


def sums_both_ways(client: Client, make: Callable[[], Any]) -> list[float]:
    """The answers of a job, which are those of a call."""
    results = client.submit(make(), model="m").results(partial=True)
    submitted = results.probabilities[:, 0].tolist()
    assert submitted == pytest.approx(
        client.predict(make(), model="m", errors="nan")[:, 0].tolist(), nan_ok=True
    )
    return submitted


def refusal(client: Client, make: Callable[[], Any]) -> str:
    """Why both ways refuse it."""
    with pytest.raises(InputError) as submitted:
        client.submit(make(), model="m")
    with pytest.raises(InputError) as called:
        client.predict(make(), model="m")
    assert "\n" not in str(submitted.value)
    assert str(submitted.value) == str(called.value)
    return str(submitted.value)


class ByArray:
    """Has numbers by NumPy's protocol."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        return self._array


class ByInterface:
    """Has numbers by NumPy's older protocol, in an attribute."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.__array_interface__ = array.__array_interface__
        self._array = array


class ByDlpack:
    """Has numbers by DLPack alone."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


class ByNumber:
    """A data set as those of torch, which says a length."""

    def __init__(self, length: int = 3) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return BYTES[index]


def reused() -> Iterator[NDArray[np.uint8]]:
    buffer = np.empty((2, 2), np.uint8)
    for item in BYTES:
        buffer[:] = item
        yield buffer


ARRAYS: dict[str, Callable[[], Any]] = {
    "array": lambda: BYTES,
    "fortran order": lambda: np.asfortranarray(BYTES),
    "strided": lambda: np.repeat(BYTES, 2, axis=1)[:, ::2],
    "int64": lambda: BYTES.astype(np.int64),
    "big-endian": lambda: BYTES.astype(">u2"),
    "with a grey axis": lambda: BYTES[..., np.newaxis],
    "objects": lambda: BYTES.astype(object),
    "lists": BYTES.tolist,
    "tuples": lambda: tuple(tuple(map(tuple, item)) for item in BYTES.tolist()),
    "memoryview": lambda: memoryview(BYTES),
    "__array__": lambda: ByArray(BYTES),
    "__array_interface__": lambda: ByInterface(BYTES),
    "DLPack": lambda: ByDlpack(BYTES),
    "by name": lambda: {"inputs": BYTES},
    "list of items": lambda: list(BYTES),
    "list of blocks": lambda: [BYTES[:1], BYTES[1:]],
    "generator of items": lambda: iter(BYTES),
    "generator of lists": lambda: (item.tolist() for item in BYTES),
    "generator of blocks": lambda: iter([BYTES[:2], BYTES[2:]]),
    "generator by name": lambda: {"inputs": iter(BYTES)},
    "reused buffer": reused,
    "data set by number": ByNumber,
    "(ids, block)": lambda: [(["a", "b"], BYTES[:2]), (np.array(["c"]), BYTES[2:])],
    "(id, item)": lambda: zip("abc", BYTES, strict=True),
    "(number, item)": lambda: enumerate(BYTES),
    "(inputs, labels)": lambda: iter([(BYTES[:2], np.arange(2)), (BYTES[2:], np.arange(1))]),
    "(item, label)": lambda: ((item, 1) for item in BYTES),
    "rows of a data set": lambda: ({"inputs": item, "label": 1} for item in BYTES),
    "rows of one column": lambda: ({"photo": item} for item in BYTES),
    "ItemBlock of lists": lambda: [ItemBlock(rows=Rows(BYTES.tolist()), item_ids=None, where="x")],
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_all_kinds_and_streams_of_them_go_in(kind: str) -> None:
    assert SUMS == sums_both_ways(IMAGES, ARRAYS[kind])


def test_an_item_without_the_items_axis_is_one_item() -> None:
    for client, item in (
        (IMAGES, BYTES[1]),
        (IMAGES, BYTES[1].tolist()),
        (IMAGES, BYTES[1][..., np.newaxis]),
        (VECTORS, array.array("d", [9, 4, 9])),
        (VECTORS, range(6, 9)),
        (TOKENS, [20, 2]),
        (client_for([], "float32"), 22),
        (client_for([1], "float32"), np.float64(22)),
        # A series of as many steps, rather than as many series of one step.
        (client_for([None, 1], "float32"), np.full((2, 1), 11)),
    ):
        expected = 21.0 if isinstance(item, range) else 22.0
        assert [expected] == sums_both_ways(client, lambda item=item: item)


def test_a_number_an_item_is_predicted_without_a_second_axis() -> None:
    with in_memory_client(
        model="m",
        item_shape=[2],
        item_dtype="float32",
        kind="values",
        predict=lambda rows: rows.sum(axis=1),
    ) as client:
        assert [3.0, 7.0] == client.predict([[1, 2], [3, 4]], model="m").tolist()
        bad = client.predict([[1, 2], [3, None]], model="m", errors="nan")
    np.testing.assert_array_equal(np.array([3, np.nan], np.float32), bad, strict=True)


def test_ids_come_with_items_and_are_text() -> None:
    ids = [uuid.UUID(int=1), 7, "seven"]
    for make, expected in (
        (lambda: zip(ids, BYTES, strict=True), list(map(str, ids))),
        (lambda: [ItemBlock(rows=Rows(BYTES), item_ids=ids, where="x")], list(map(str, ids))),
        (lambda: enumerate(BYTES, 5), ["5", "6", "7"]),
    ):
        assert expected == IMAGES.submit(make(), model="m").results().item_ids
    for given, expected in (
        (np.arange(3), ["0", "1", "2"]),
        ([Path("a"), "b", 3], ["a", "b", "3"]),
    ):
        job = IMAGES.submit(iter(BYTES), model="m", item_ids=given)
        assert expected == job.results().item_ids


def test_items_that_differ_in_shape_go_to_a_model_of_any_length() -> None:
    ragged = [[1, 2], [3], [4, 5, 6], [7, 8, 9]]
    cells = np.empty(4, object)
    cells[:] = [np.array(row) for row in ragged]
    for make in (lambda: ragged, lambda: map(np.array, ragged), lambda: cells):
        assert [3.0, 3.0, 15.0, 24.0] == sums_both_ways(TOKENS, make)
    for make in (
        lambda: [[1, 2], [], [3]],
        lambda: iter([[1, 2], [], [3]]),
        lambda: map(np.array, [[1, 2], [], [3]]),
        lambda: [{"inputs": [1, 2]}, {"inputs": None}, {"inputs": [3]}],
    ):
        first, second, third = sums_both_ways(TOKENS, make)
        assert (3.0, 3.0, True) == (first, third, bool(np.isnan(second)))
    job = TOKENS.submit(ragged, model="m")
    assert [("safetensors", 4)] == [(s.format, s.item_count) for s in job.manifest.shards]
    assert "inputs[1]: an item of shape (2,), but m:1 takes (3,)" in refusal(
        VECTORS, lambda: [[1, 2, 3], [4, 5]]
    )


def test_bad_rows_fail_alone_whichever_way_they_come() -> None:
    nan, inf = np.nan, np.inf
    for make in (
        lambda: [[0, 1, 2], [None, 4, 5]],
        lambda: [[0, 1, 2], None],
        lambda: np.ma.masked_equal(np.arange(6).reshape(2, 3), 3),
        lambda: iter([[0, 1, 2], [nan, 4, 5]]),
        lambda: np.array([[0, 1, 2], [1e300, 4, 5]]),
        lambda: iter([np.array([[0, 1, 2]]), np.array([[inf, 4, 5]])]),
    ):
        first, second = sums_both_ways(VECTORS, make)
        assert 3.0 == first
        assert np.isnan(second)


REFUSED: list[tuple[Client, Callable[[], Any], str]] = [
    (IMAGES, lambda: None, "inputs is NoneType; give an array of items"),
    (IMAGES, lambda: "photo.png", "for a file give pathlib.Path"),
    (IMAGES, lambda: ["a.png", "b.png"], "inputs is list of str, and m:1 takes uint8 [2, 2]; for"),
    (IMAGES, lambda: np.array(["a.png", "b.png"]), "inputs is ndarray of str, and m:1 takes uint8"),
    (IMAGES, lambda: {"inputs": ("a.png",)}, "inputs['inputs'] is tuple of str, and m:1 takes"),
    (IMAGES, lambda: np.array([None, "a.png"], object), "inputs is ndarray of str, and m:1 takes"),
    (IMAGES, lambda: b"photo", "inputs is bytes"),
    (IMAGES, lambda: 3, "inputs is a single value, and m:1 takes (2, 2)"),
    (IMAGES, lambda: np.uint8(3), "is a single value"),
    (IMAGES, list, "no items"),
    (IMAGES, lambda: iter([]), "no items"),
    (IMAGES, lambda: np.zeros((0, 2, 2)), "is empty"),
    (IMAGES, lambda: {1, 2}, "is a single value"),
    (IMAGES, lambda: refusal, "inputs is function"),
    (IMAGES, lambda: BYTES / 255, "dtype float64, but m:1 takes uint8; scaling is inside"),
    (IMAGES, lambda: BYTES.astype(int) * 99, "values from 0 to 1089 do not fit uint8, which m:1"),
    (IMAGES, lambda: {"photo": BYTES}, "inputs has 'photo', and m:1 takes one input, 'inputs'"),
    (IMAGES, lambda: {"inputs": BYTES, "x": 1}, "inputs has 'inputs', 'x'"),
    (IMAGES, lambda: [{"a": 1, "b": 2}], "inputs[0] has 'a', 'b', and none is 'inputs'"),
    (IMAGES, lambda: [BYTES, "x"], "inputs[1] is str"),
    (IMAGES, lambda: [object()], "inputs[0] is object"),
    (IMAGES, lambda: iter([(BYTES, BYTES)]), "is 2 times what m:1 takes"),
    (IMAGES, lambda: iter([[BYTES, [1, 2, 3]]]), "(inputs, labels) as a tuple"),
    (IMAGES, lambda: [("a", BYTES)], "1 item ids for 3 items"),
    (IMAGES, lambda: [("a", BYTES[0]), ("a", BYTES[1])], "items 0 and 1 have the same id, 'a'"),
    (IMAGES, lambda: ByNumber(9), "inputs has length 9, and no element 3"),
    (VECTORS, lambda: [[1, 2, "a"]], "is not numeric"),
    (VECTORS, lambda: [[1, 2, 3], [4, 5, {}]], "item 1 holds {}, which is not numeric"),
    (VECTORS, lambda: [[dt.date(2026, 1, 1)] * 3], "is not numeric"),
    (VECTORS, lambda: FLOATS.astype(complex), "complex128 is not numeric"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_is_no_data_is_refused_by_its_name(number: int) -> None:
    client, make, why = REFUSED[number]

    assert why in refusal(client, make)


def test_hostile_objects_are_refused_too() -> None:
    class Raises:
        def __array__(self, *_: object, **__: object) -> NDArray[Any]:
            raise RuntimeError("boom\nand more")

    class AnswersToAnyName:
        def __getattr__(self, name: str) -> object:
            return 3

    class NoLength(ByNumber):
        def __len__(self) -> int:
            raise RuntimeError("no length")

    class NoIterator:
        def __iter__(self) -> Any:
            return 3

    circle: list[Any] = []
    circle.append(circle)
    assert "Raises, which gives no array (RuntimeError: boom)" in refusal(IMAGES, Raises)
    assert "inputs[0] is Raises" in refusal(IMAGES, lambda: [Raises()])
    assert "AnswersToAnyName" in refusal(IMAGES, AnswersToAnyName)
    assert "cannot be iterated (RuntimeError: no length)" in refusal(IMAGES, NoLength)
    assert "cannot be iterated (TypeError" in refusal(IMAGES, NoIterator)
    assert "a list in a list" in refusal(IMAGES, lambda: circle)


def test_the_callers_own_error_comes_through_unchanged() -> None:
    def broken() -> Iterator[NDArray[np.uint8]]:
        yield BYTES
        raise KeyError("theirs")

    for call in (IMAGES.submit, IMAGES.predict):
        with pytest.raises(KeyError, match="theirs"):
            call(broken(), model="m")


def test_an_array_that_claims_more_than_fits_into_memory_takes_none() -> None:
    # given a terabyte of one byte, of items that fit and of others
    fits = np.broadcast_to(np.uint8(1), (10**12 // 4, 2, 2))
    others = np.broadcast_to(np.int64(1), (10**12, 2, 3))
    endless = itertools.repeat(np.broadcast_to(np.int64(1), (10**9, 2, 2)))

    tracemalloc.start()
    try:
        for given in (fits, endless):
            with pytest.raises(UsageError, match="submit them as a job"):
                IMAGES.predict(given, model="m")
        assert "items of shape (2, 3)" in refusal(IMAGES, lambda: others)
        with pytest.raises(UsageError, match="tags"):
            IMAGES.submit(fits, model="m", tags={"n": 1})  # type: ignore[dict-item]  # wrong
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 100 * 2**20


def test_an_array_in_a_file_is_read_by_rows(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    rows = np.arange(6_000_000, dtype=np.float64).reshape(-1, 3) % 7
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        stored = file.create_dataset("rows", data=rows)
        tracemalloc.start()
        try:
            shards = VECTORS.submit(stored, model="m", items_per_shard=500_000).manifest.shards
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        one = file.create_dataset("one", data=[1, 2, 3])
        assert [6.0] == sums_both_ways(VECTORS, lambda: one)
    assert [500_000] * 4 == [shard.item_count for shard in shards]
    assert peak_bytes < rows.nbytes + 40 * 2**20
    assert "Dataset, which gives no array" in refusal(VECTORS, lambda: stored)


def test_pictures_and_files_go_in(tmp_path: Path) -> None:
    images = pytest.importorskip("PIL.Image")
    small = images.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    grey = images.new("RGB", (64, 48), (10, 20, 30))
    small.save(tmp_path / "a.png")
    grey.save(tmp_path / "b.png")
    encoded = io.BytesIO()
    grey.save(encoded, "PNG")
    for make, expected in (
        (lambda: small, [66.0]),
        (lambda: [small, grey], [66.0, 240.0]),
        (lambda: (picture for picture in (small, grey.convert("CMYK"))), [66.0, 240.0]),
        (encoded.getvalue, [240.0]),
        (lambda: [{"image": {"bytes": encoded.getvalue(), "path": None}}], [240.0]),
        (lambda: tmp_path, [66.0, 240.0]),
        (lambda: [tmp_path / "b.png", tmp_path / "a.png"], [240.0, 66.0]),
        (lambda: ((path, 1) for path in sorted(tmp_path.iterdir())), [66.0, 240.0]),
    ):
        assert expected == sums_both_ways(PICTURES, make)
    with_ids = PICTURES.submit(
        [tmp_path / "a.png", tmp_path / "b.png"], model="m", item_ids=["x", "y"]
    )
    assert ["x", "y"] == with_ids.results().item_ids
    assert "b.jpg does not exist" in refusal(PICTURES, lambda: tmp_path / "b.jpg")
    assert "is Image among paths" in refusal(PICTURES, lambda: [tmp_path / "a.png", small])
    with pytest.raises(InputError, match="neither grey nor RGB"):
        VECTORS.predict(small, model="m")
