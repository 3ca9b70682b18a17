"""`fornada submit` of a table: what `--column` and `--id-column` mean."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from fornada.errors import UsageError
from fornada.formats.items import Array
from fornada.tensors import InputTensor, OutputTensor
from producer.client import Client
from producer.commands import submit as submit_module
from producer.testing import in_memory_client


def _client() -> Client:
    def difference(given: dict[str, Array]) -> Array:
        return np.asarray(given["pair"][:, :1] - given["pair"][:, 1:] + given["one"], np.float32)

    return in_memory_client(
        model="m",
        inputs=[
            InputTensor(name="pair", dtype="float32", shape=[2]),
            InputTensor(name="one", dtype="float32", shape=[1]),
        ],
        outputs=[OutputTensor(name="score", shape=[1], kind="values")],
        predict=difference,
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"k": ["a", "b"], "x,y": [5, 7], "z": [1, 2], "one": [0, 10]}), path)
    return path


def _submit(client: Client, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Result:
    monkeypatch.setattr(submit_module, "client_from_env", lambda: client)
    given = [*map(str, arguments), "--model", "m@prod", "--idempotency-key", "job"]
    return CliRunner().invoke(submit_module.submit, given, catch_exceptions=False)


def test_columns_and_ids_are_named_by_options(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = _client()

    _submit(client, monkeypatch, table, "--column", 'pair="x,y",z', "--id-column", "k")

    results = client.job("job").results()
    assert (["a", "b"], [4.0, 15.0]) == (
        results.item_ids,
        results.outputs["score"][:, 0].tolist(),
    )


@pytest.mark.parametrize("columns", [["pair"], ["=z"], ["pair="], ["pair=z,"], ["pair=z"] * 2])
def test_a_column_that_is_not_input_and_column_is_wrong_usage(
    columns: list[str], table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [part for column in columns for part in ("--column", column)]

    with pytest.raises(UsageError, match="--column") as found:
        _submit(_client(), monkeypatch, table, *options)

    assert 2 == found.value.exit_code
