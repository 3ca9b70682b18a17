"""Rows of a table as items: types that fit, values that cost their row alone."""

import numpy as np
import pyarrow as pa
import pytest

from fornada.errors import InputError
from fornada.formats.tables.binding import TableBinding, check_types
from fornada.formats.tables.conversion import TableItems, id_texts, table_items
from fornada.tensors import InputTensor

TABLE = pa.table(
    {
        "whole": [1, None, 300, 4],
        "half": [1.5, 2.0, float("nan"), 1e300],
        "text": ["x", None, "é", ""],
        "lists": [[1, 2], [1], None, [3, None]],
        "nested": [[[1, 2], [3, 4]], None, [[1], [2, 3]], [[5, 6], [7, 8]]],
    }
)


def tensor(dtype: str, shape: list[int | None], **fields: object) -> InputTensor:
    return InputTensor.from_plain({"name": "x", "dtype": dtype, "shape": shape, **fields}, where="")


def items(table: pa.Table, taken: InputTensor, *columns: str, parsed: str = "") -> TableItems:
    binding = TableBinding(columns={"x": list(columns)})
    types = dict(zip(table.schema.names, table.schema.types, strict=True))
    names = frozenset(parsed.split())
    check_types(types, binding, [taken], model="m:1", where="t.parquet", parsed=names)
    return table_items(table.combine_chunks().to_batches()[0], binding, [taken], parsed=names)


def test_columns_side_by_side_are_one_vector_and_bad_values_cost_their_rows() -> None:
    found = items(TABLE, tensor("float32", [2]), "whole", "half")

    (rows,) = found.columns
    assert ([1, 1.5], [300, "nan"]) == (rows[0].tolist(), [rows[2, 0], str(rows[2, 1])])
    assert {1: "null in 'whole'", 3: "1e+300 in 'half' is out of the range of float32"} == (
        found.errors
    )


def test_null_is_filled_where_the_input_says_so_and_nan_where_it_takes_nan() -> None:
    filled = items(TABLE, tensor("float32", [1], fill=7.0), "whole")
    finite = items(TABLE, tensor("float32", [1], finite=False), "whole")

    assert ([[1], [7], [300], [4]], {}) == (filled.columns[0].tolist(), filled.errors)
    assert (True, {}) == (bool(np.isnan(finite.columns[0][1, 0])), finite.errors)


def test_whole_numbers_become_a_smaller_dtype_where_they_fit() -> None:
    found = items(TABLE, tensor("uint8", []), "whole")

    assert np.uint8 == found.columns[0].dtype
    assert [1, 4] == found.columns[0][[0, 3]].tolist()
    assert {1: "null in 'whole'", 2: "300 in 'whole' is out of the range of uint8"} == found.errors


def test_floats_that_are_whole_become_integers_and_fractions_cost_their_rows() -> None:
    large = 2**62 + 1
    table = pa.table(
        {
            "age": pa.array([30.0, 2.5, None, float("nan"), 1e30, -0.0]),
            "key": pa.array([large, 2, 3, 4, 5, 6], pa.decimal128(30, 0)),
            "text": ["3.0", "4", "", "5.5", "x", str(large)],
        }
    )

    whole = items(table, tensor("int32", []), "age")
    filled = items(table, tensor("int32", [], fill=7.0), "age")
    keys = items(table, tensor("int64", []), "key")
    parsed = items(table, tensor("int64", []), "text", parsed="text")

    assert [30, 0] == whole.columns[0][[0, 5]].tolist()
    broken = {1: "2.5 in 'age' is not a whole number, which the model takes"}
    out = {4: "1e+30 in 'age' is out of the range of int32"}
    assert broken | out | {2: "null in 'age'", 3: "null in 'age'"} == whole.errors
    assert ([7, 7], broken | out) == (filled.columns[0][[2, 3]].tolist(), filled.errors)
    assert [large, 2, 3, 4, 5, 6] == keys.columns[0].tolist()
    assert ([3, 4, large], [2, 3, 4]) == (
        parsed.columns[0][[0, 1, 5]].tolist(),
        sorted(parsed.errors),
    )


def test_text_is_utf8_bytes_also_from_dictionaries() -> None:
    encoded = pa.table({"text": TABLE["text"].dictionary_encode()})
    for table in (TABLE, encoded):
        found = items(table, tensor("string", [1]), "text")

        assert [[b"x"], [b""], ["é".encode()], [b""]] == found.columns[0].tolist()
        assert {1: "null in 'text'"} == found.errors


def test_lists_are_vectors_of_one_width_or_sequences_of_any() -> None:
    fixed = items(TABLE, tensor("int32", [2]), "lists")
    varying = items(TABLE, tensor("int32", [None]), "lists")

    assert [[1, 2], [0, 0]] == fixed.columns[0][:2].tolist()
    assert {
        1: "1 values in 'lists', and the model takes 2",
        2: "null in 'lists'",
        3: "null in 'lists'",
    } == fixed.errors
    assert [[1, 2], [1]] == [row.tolist() for row in varying.columns[0][:2]]
    assert [2, 3] == sorted(varying.errors)


def test_nested_lists_and_tensors_have_the_shape_of_an_item() -> None:
    nested = items(TABLE, tensor("float32", [2, 2]), "nested")
    images = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    tensors = pa.table({"t": pa.FixedShapeTensorArray.from_numpy_ndarray(images)})

    assert [[[1, 2], [3, 4]], [[5, 6], [7, 8]]] == nested.columns[0][[0, 3]].tolist()
    assert [1, 2] == sorted(nested.errors)
    assert images.tolist() == items(tensors, tensor("float32", [2, 2]), "t").columns[0].tolist()


def test_numbers_are_read_from_text_and_a_cell_that_is_none_costs_its_row() -> None:
    table = pa.table({"n": ["1", " 2.0", "x", "", "true"]})

    whole = items(table, tensor("int32", []), "n", parsed="n")

    assert [1, 2, 0, 0, 1] == whole.columns[0].tolist()
    assert {2: "'x' in 'n' is not a whole number", 3: "null in 'n'"} == whole.errors


@pytest.mark.parametrize(
    ("taken", "columns", "why"),
    [
        (tensor("float32", []), ["text"], "column 'text' holds string, and m:1 takes float32"),
        (tensor("string", []), ["whole"], "column 'whole' holds int64, and m:1 takes string"),
        (tensor("float32", [3]), ["whole"], "column 'whole' holds int64"),
        (tensor("float32", [3]), ["whole", "half"], "2 columns are given for 'x'"),
        (tensor("float32", []), ["age"], "t.parquet has no column 'age'; it has 'whole', 'half'"),
    ],
)
def test_columns_of_another_type_are_refused(
    taken: InputTensor, columns: list[str], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        items(TABLE, taken, *columns)


def test_ids_are_text_and_every_row_needs_one() -> None:
    assert ["7", "8"] == id_texts(pa.array([7, 8]), first_row=0, where="t")
    with pytest.raises(InputError, match="row 11 has no id"):
        id_texts(pa.array(["a", None]), first_row=10, where="t")
