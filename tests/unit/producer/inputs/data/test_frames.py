"""Data frames, their columns and what speaks their protocols go in as items, nulls as bad rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fornada.errors import InputError, UsageError
from producer import Client
from producer.testing import in_memory_client

pa = pytest.importorskip("pyarrow")

COLUMNS: dict[str, list[Any]] = {"a": [1, 2], "b": [0.5, 4], "c": [True, False]}


def client_for(shape: list[int | None], dtype: str) -> Client:
    return in_memory_client(
        model="m",
        item_shape=shape,
        item_dtype=dtype,
        classes=["sum"],
        predict=lambda rows: rows.reshape(len(rows), -1).sum(1, np.float32, keepdims=True),
    )


def sums(frame: Any, shape: list[int | None] | None = None, dtype: str = "float32") -> list[float]:
    client = client_for([3] if shape is None else shape, dtype)
    results = client.submit(frame, model="m").results(partial=True)
    for index in results.errors:
        assert np.isnan(results.probabilities[index, 0])
    return np.nan_to_num(results.probabilities[:, 0], nan=-1).tolist()


class ByStream:
    """Speaks the Arrow stream protocol alone, as results of queries do."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._frame.__arrow_c_stream__(requested_schema)


class ByInterchange:
    """Speaks the older interchange protocol alone."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __dataframe__(self, *args: Any, **options: Any) -> Any:
        return self._frame.__dataframe__(*args, **options)


def frames_of(package: str) -> Callable[[dict[str, list[Any]]], Any]:
    module: Any = pytest.importorskip(package)
    make: Callable[[dict[str, list[Any]]], Any]
    make = module.table if package == "pyarrow" else module.DataFrame
    return make


@pytest.mark.parametrize("package", ["pyarrow", "pandas", "polars"])
def test_frames_go_in_by_rows(package: str) -> None:
    frame = frames_of(package)

    assert [2.5, 6.0] == sums(frame(COLUMNS))
    assert [2.5, 6.0, 2.5, 6.0] == sums(iter([frame(COLUMNS)] * 2))
    # A null fails its row, also where the package turns it and its column into floats.
    assert [-1.0, 6.0] == sums(frame({**COLUMNS, "a": [None, 2]}))
    assert [-1.0, 6.0] == sums(frame({"a": [None, 1], "b": [3, 2], "c": [3, 3]}), dtype="int32")
    # A column of the input's name is taken alone, and may hold lists, or the whole is one item.
    assert [3.0, 12.0] == sums(frame({"inputs": [[0, 1, 2], [3, 4, 5]], "label": ["x", "y"]}))
    assert [3.0, -1.0] == sums(frame({"inputs": [[0, 1, 2], None], "label": ["x", "y"]}))
    assert [8.5] == sums(frame(COLUMNS), [2, 3])
    assert [6.0, 4.0] == sums(frame({"x": [[1, 2, 3], [4]]}), [None], "int32")
    with pytest.raises(InputError, match=r"column 'b' holds String, and m:1 takes float32 \[3\]"):
        sums(frame({**COLUMNS, "b": ["x", "y"]}))
    with pytest.raises(InputError, match=r"items of shape \(3,\), but m:1 takes \(4,\)"):
        sums(frame(COLUMNS), [4])


def test_parts_and_protocols_of_arrow_go_in() -> None:
    table = pa.table(COLUMNS)
    (batch,) = table.to_batches()
    for given in (batch, ByStream(table), ByInterchange(table), [batch]):
        assert [2.5, 6.0] == sums(given)
    reader = pa.RecordBatchReader.from_batches(batch.schema, [batch, batch])
    assert [2.5, 6.0, 2.5, 6.0] == sums(reader)
    for column in (pa.array([1.5, None]), pa.chunked_array([[1.5], [None]])):
        assert [1.5, -1.0] == sums(column, [1])
    lists = pa.array([[1, 2, 3], [4, 5, 6]], pa.list_(pa.int32(), 3))
    assert [6.0, 15.0] == sums(pa.table({"x": lists}))


def test_what_cannot_be_read_is_said_in_one_line() -> None:
    class Broken:
        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            raise RuntimeError("boom\nand more")

    with pytest.raises(InputError, match=r"inputs is Broken, which cannot be read .*: boom\)"):
        sums(Broken())


def test_pandas_and_polars_have_kinds_of_their_own() -> None:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")

    assert [3.0, 12.0] == sums(pd.DataFrame(np.arange(6).reshape(2, 3)))
    assert [3.0] == sums(pd.DataFrame(np.arange(3).reshape(1, 3), columns=list("abc")).iloc[0])
    assert [1.0, 2.0] == sums(pd.Series([1.0, 2.0]), [])
    assert [4.0, -1.0] == sums(pd.DataFrame({"a": pd.array([4, None], "Int64")}), [1], "int32")
    assert [4.0, -1.0] == sums(pd.DataFrame({"a": [4, None]}, dtype=object), [1], "int32")
    with pytest.raises(InputError, match="DuplicateError"):
        sums(pd.DataFrame([[1, 2, 3]], columns=["a", "a", "b"]))
    with pytest.raises(InputError, match="a query that was not run"):
        sums(pl.LazyFrame(COLUMNS))


@pytest.mark.parametrize("package", ["pyarrow", "pandas", "polars"])
def test_columns_of_numbers_are_found_beside_others_and_floats_may_be_whole(package: str) -> None:
    frame = frames_of(package)
    named = frame({"name": ["x", "y"], **COLUMNS, "more": [7, 8]})

    # As many columns of numbers as the model takes, or those that are named.
    assert [9.5, 14.0] == sums(named, [4])
    client = client_for([3], "float32")
    job = client.submit(named, model="m", columns={"inputs": ["more", "b", "c"]}, id_column="name")
    results = job.results()
    assert (["x", "y"], [8.5, 12.0]) == (results.item_ids, results.probabilities[:, 0].tolist())
    # Pixels side by side, in the shape of an image.
    pixels = frame({f"p{n}": [float(n), 0.0] for n in range(6)})
    assert [15.0, 0.0] == sums(pixels, [2, 3], "int32")
    # A null costs its row; so does a fraction, or what the dtype lacks, unless all is one item.
    assert [6.0, -1.0] == sums(frame({"a": [1.0, 2.0], "b": [5, None]}), [2], "int64")
    assert [-1.0, 8.0] == sums(frame({"a": [1.5, 2.0], "b": [5, 6]}), [2], "int64")
    odd = frame({"a": [2.5, 1.0, 300.0, 4.0], "b": [1, 2, 3, -1]})
    assert [-1.0, 3.0, -1.0, -1.0] == sums(odd, [2], "uint8")
    with pytest.raises(InputError, match="'a' is not a whole number, which the model takes; round"):
        sums(odd, [4, 2], "int64")
    with pytest.raises(InputError, match=r"item 0: 2\.5 in 'a' is not a whole number"):
        client_for([2], "uint8").submit(odd, model="m", strict=True)


def test_ids_come_by_a_column_of_each_frame_and_each_row_of_a_stream() -> None:
    pd = pytest.importorskip("pandas")
    client = client_for([2], "float32")
    parts = [pd.DataFrame({"id": [n, n + 1], "a": [n, 1], "b": [2, 3]}) for n in (1, 3)]
    rows = [row for part in parts for row in part.to_dict("records")]
    columns = {"inputs": ["a", "b"]}

    for given in (iter(parts), rows, pd.concat(parts), pd.concat(parts).to_dict("list")):
        results = client.submit(given, model="m", id_column="id", columns=columns).results()
        assert ["1", "2", "3", "4"] == results.item_ids
        assert [3.0, 4.0, 5.0, 4.0] == results.probabilities[:, 0].tolist()
    with pytest.raises(InputError, match=r"inputs\[0\] has no column 'key'; it has 'id', 'a', 'b'"):
        client.submit(iter(parts), model="m", id_column="key")
    with pytest.raises(UsageError, match="id_column is for tables, data frames and rows"):
        client.submit(np.zeros((2, 2)), model="m", id_column="id")
