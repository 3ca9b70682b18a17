"""Damaged tables and texts on this machine give items or one of our errors, in bounded memory."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from pyarrow import csv, feather, parquet
from safetensors.numpy import save

from fornada.errors import FornadaError
from fornada.tensors import InputTensor
from producer.inputs.interface import ItemBlock, LocalFiles, Signature
from producer.inputs.local_files import read_blocks
from producer.inputs.tables.interface import NO_TABLE_OPTIONS, TableOptions

from .rig.fuzzing import EDITS, FUZZED, Edit, edited, little_memory, obeyed

_NUMBERS = InputTensor(name="numbers", dtype="float32", shape=[2])
_TEXT = InputTensor(name="text", dtype="string", shape=[])
_BOTH = Signature(inputs=[_NUMBERS, _TEXT], model="m:1")
_COUNT = 50
_TABLE = pa.table(
    {
        "key": [f"K{n}" for n in range(_COUNT)],
        "a": np.arange(_COUNT),
        "b": np.linspace(0, 1, _COUNT),
        "text": [f'text, {n} "é"' for n in range(_COUNT)],
    }
)
_OPTIONS = TableOptions(columns={"numbers": ["a", "b"]}, id_column="key")


def _written(write: Callable[[pa.Table, io.BytesIO], None]) -> bytes:
    file = io.BytesIO()
    write(_TABLE, file)
    return file.getvalue()


_LINES = "".join(json.dumps(row) + "\n" for row in _TABLE.to_pylist()).encode()
#: Name of a file -> its bytes, whole.
_FILES: dict[str, bytes] = {
    "t.csv": _written(csv.write_csv),
    "t.parquet": _written(lambda table, file: parquet.write_table(table, file, row_group_size=20)),
    "t.feather": _written(feather.write_feather),
    "t.jsonl": _LINES,
    "t.txt": _LINES,
    "t.safetensors": save({"numbers": np.zeros((_COUNT, 2), np.float32)}),
}


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    with little_memory():
        yield


@settings(FUZZED, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(_FILES)), edits=EDITS, cut=st.floats(0.2, 1))
def test_a_damaged_file_gives_items_or_errors(
    tmp_path: Path, name: str, edits: list[Edit], cut: float
) -> None:
    data = edited(_FILES[name], edits)
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * cut)])

    blocks = obeyed(lambda: _read(path), FornadaError)

    for block in blocks or []:
        assert isinstance(block, ItemBlock)
        assert all(0 <= row < len(block.rows) for row in block.errors)
        assert block.item_ids is None or len(block.item_ids) == len(block.rows)


@pytest.mark.parametrize("name", sorted(_FILES))
def test_the_whole_file_gives_all_items(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(_FILES[name])

    blocks = _read(path)

    assert (_COUNT, []) == (
        sum(len(block.rows) for block in blocks),
        [why for block in blocks for why in block.errors.values()],
    )


def _read(path: Path) -> list[ItemBlock]:
    signature, options = _BOTH, _OPTIONS
    if path.suffix in {".txt", ".safetensors"}:
        taken = _TEXT if path.suffix == ".txt" else _NUMBERS
        signature, options = Signature(inputs=[taken], model="m:1"), NO_TABLE_OPTIONS
    files = LocalFiles(paths=[path])
    read = read_blocks(files, signature, max_file_bytes=10**6, strict=False, table=options)
    return [block for block in read if isinstance(block, ItemBlock)]
