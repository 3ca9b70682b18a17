"""Tables on the command line: `--column`, `--id-column`, `--with-columns`."""

import json
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
from producer.commands import results as results_module
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
        outputs=[OutputTensor(name="score", shape=[1], kind="values", classes=["score"])],
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


def test_columns_are_carried_into_every_format_of_rows(
    table: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = _client()
    whole = pa.table(
        {
            "key": ["a", "b", "c"],
            "pair": [[5.0, 1.0], None, [7.0, 2.0]],
            "one": [0, 1, 10],
            "note": ["=x", None, "é"],
            "visits": pa.array([1, None, 3], pa.int64()),
            "since": pa.array([0, 1, None], pa.date32()),
            "score": ["old", "old", "old"],
            "input.score": [1, 2, 3],
        }
    )
    pq.write_table(whole, table)
    _submit(client, monkeypatch, table, "--id-column", "key", "--items-per-shard", "2")
    monkeypatch.setattr(results_module, "client_from_env", lambda: client)

    def results(fmt: str, columns: str = "note,visits,since", *more: str) -> Path:
        path = tmp_path / f"r.{fmt}"
        options = ["--format", fmt, "--output", path, "--with-columns", columns, *more]
        given = ["job", *map(str, options), "--table", str(table)]
        CliRunner().invoke(results_module.results, given, catch_exceptions=False)
        return path

    lines = results("jsonl").read_text(encoding="utf-8").splitlines()
    assert [("=x", 1, "1970-01-01"), (None, None, "1970-01-02"), ("é", 3, None)] == [
        (row["note"], row["visits"], row["since"]) for row in map(json.loads, lines)
    ]
    rows = results("csv").read_text(encoding="utf-8").splitlines()
    assert ["item_id,note,visits,since,score,error,model", "a,'=x,1,1970-01-01,4.0,,m:1"] == (
        rows[:2]
    )
    # A column that results have, too, is told apart by its name.
    told_apart = results("csv", "score,note,note").read_text(encoding="utf-8").splitlines()
    assert ["item_id,input.score,note,score,error,model", "a,old,'=x,4.0,,m:1"] == told_apart[:2]
    written = pq.read_table(results("parquet"))
    assert (pa.int64(), [1, None, 3]) == (
        written.schema.field("visits").type,
        written["visits"].to_pylist(),
    )
    # A file a shard, in the store.
    invoked = CliRunner().invoke(
        results_module.results,
        [
            "job",
            "--by-shard",
            "--format",
            "parquet",
            "--with-columns",
            "note",
            "--table",
            str(table),
        ],
        catch_exceptions=False,
    )
    assert "wrote 3 results below jobs/job/results/parquet/" in invoked.output
    objects = client._jobs.objects
    stored = list(objects.list("jobs/job/results/parquet/"))
    parts = [pq.read_table(pa.BufferReader(objects.get(each.key).data)) for each in stored]
    assert [["a", "b"], ["c"]] == [part["item_id"].to_pylist() for part in parts]
    assert written.select(["item_id", "note", "score", "error"]).equals(
        pa.concat_tables(parts).select(["item_id", "note", "score", "error"])
    )
    for options, why in (
        (["--format", "npy"], "npy has none; give parquet, arrow"),
        (["--format", "csv", "--output", "x"], "leave --output and --raw out"),
    ):
        with pytest.raises(UsageError, match=why):
            CliRunner().invoke(
                results_module.results, ["job", "--by-shard", *options], catch_exceptions=False
            )
    for fmt, columns, why in (
        ("npy", "note", "no rows"),
        ("csv", "score,input.score", "several columns named input.score; name each once in"),
        ("csv", "pair", "is no cell"),
    ):
        with pytest.raises(UsageError, match=why):
            results(fmt, columns)
