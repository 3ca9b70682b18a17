"""Outputs of any names, dtypes and shapes come back from the store and from every format."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from safetensors.numpy import load, save

from fornada.errors import UsageError
from fornada.formats.tensor_file import Column, from_tensor_file, needs_tensor_file
from fornada.jobs.items import blank_column
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.jobs.store import JobStore
from fornada.records import ItemError, ModelPin, ObjectRef
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import InputTensor, OutputTensor
from fornada.testing import InMemoryCoordination
from producer.exporting.files import write_results
from producer.exporting.interface import Export
from producer.following.queues import Queues
from producer.job import Job

AT = datetime(2026, 11, 29, tzinfo=UTC)
SHA = "0" * 64
IDS = OutputTensor(name="ids", dtype="string", shape=[], kind="tensor")
DTYPES = ("bool", "uint8", "uint64", "int64", "float32", "float64", "string")


class Part(NamedTuple):
    """What a shard gave."""

    columns: list[Column]
    #: Position of an item that failed -> why.
    errors: dict[int, str]


class Case(NamedTuple):
    """A job that ended."""

    gives: list[OutputTensor]
    parts: list[Part]

    @property
    def counts(self) -> list[int]:
        """Items of each shard."""
        return [len(part.columns[0]) for part in self.parts]

    @property
    def failed(self) -> list[bool]:
        """Whether each item of the job failed."""
        return [
            row in part.errors
            for part, count in zip(self.parts, self.counts, strict=True)
            for row in range(count)
        ]

    def cells(self, at: int) -> list[NDArray[Any]]:
        """What output number `at` is for each item of the job."""
        # An array of bytes would lose zeros at the end of texts.
        dtype = object if self.gives[at].dtype == "string" else None
        return [np.asarray(cell, dtype) for part in self.parts for cell in part.columns[at]]


def _item(output: OutputTensor, sides: Sequence[int]) -> st.SearchStrategy[NDArray[Any]]:
    if output.dtype == "string":
        # NumPy's files keep no zeros at the end of texts.
        kept = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
        texts = st.text(kept, max_size=3).map(str.encode)
        count = math.prod(sides)
        return st.lists(texts, min_size=count, max_size=count).map(
            lambda each: np.array(each, object).reshape(sides)
        )
    return hnp.arrays(output.dtype, tuple(sides))


@st.composite
def _parts(draw: st.DrawFn, gives: Sequence[OutputTensor]) -> Part:
    count = draw(st.integers(1, 3))
    errors = {row: f"broken {row}" for row in draw(st.sets(st.integers(0, count - 1)))}
    columns = []
    for output in gives:
        column = blank_column(output, count)
        for row in {*range(count)} - {*errors}:
            sides = [draw(st.integers(1, 3)) if side is None else side for side in output.shape]
            column[row] = draw(_item(output, sides))[()]
        columns.append(column)
    return Part(columns, errors)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A job of one to three shards."""
    gives = []
    for number in range(draw(st.integers(1, 3))):
        dtype = draw(st.sampled_from(DTYPES))
        # No side of no strings, whose file would not say how many items it has.
        side = st.one_of(st.none(), st.integers(dtype == "string", 3))
        shape = draw(st.lists(side, max_size=3))
        facts = {"dtype": dtype, "shape": shape, "kind": "tensor", "finite": False}
        gives.append(OutputTensor(name=f"a/{number}", **facts))
    return Case(gives, draw(st.lists(_parts(gives), min_size=1, max_size=3)))


def ended(case: Case) -> Job:
    """A job whose outcomes are stored."""
    jobs = JobStore(objects=InMemoryObjectStore())
    ref = ObjectRef(key="jobs/job/x", size_bytes=1, sha256=SHA)
    manifest = JobManifest(
        schema_version=3,
        job_id="job",
        model=ModelPin(name="m", version=1, sha256=SHA),
        inputs=[InputTensor(name="x", dtype="uint8", shape=[1])],
        outputs=case.gives,
        shards=Shards(ShardInput(objects=[ref], item_count=count) for count in case.counts),
        max_attempts=1,
        created_at=AT,
    )
    jobs.create(manifest)
    for shard, (columns, errors) in enumerate(case.parts):
        outcome = ShardOutcome(
            job_id="job",
            shard=shard,
            status="ok",
            attempt="a",
            data=jobs.put_outputs(manifest, shard, "a", columns),
            item_count=case.counts[shard],
            item_errors=[ItemError(index=row, reason=errors[row]) for row in sorted(errors)],
            model_sha256=SHA,
            worker="w",
            began_at=AT,
            committed_at=AT,
        )
        jobs.commit(outcome)
    jobs.finish_if_complete(manifest)
    coordination = InMemoryCoordination()
    return Job(manifest, jobs=jobs, coordination=coordination, queues=Queues(coordination))


def exported(job: Job, folder: Path, fmt: str) -> Path:
    path = folder / f"r.{fmt}"
    export = Export(
        parts=job.shard_results(partial=True),
        item_count=job.manifest.item_count,
        gives=job.manifest.gives,
        model="m:1",
    )
    write_results(export, path=path, fmt=fmt)
    return path


def plain(cell: Any) -> Any:
    """Lists of numbers, of `None` for NaN and infinity, and of text."""
    if isinstance(cell, np.ndarray | np.generic):
        return plain(cell.tolist())
    if isinstance(cell, list):
        return [plain(inner) for inner in cell]
    if isinstance(cell, bytes):
        return cell.decode()
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def is_nothing(cell: Any) -> bool:
    return all(map(is_nothing, cell)) if isinstance(cell, list) else cell in {None, ""}


def check_cells(case: Case, at: int, found: Sequence[Any]) -> None:
    """Each cell has the values of its item, or nothing if that failed."""
    for expected, failed, cell in zip(case.cells(at), case.failed, found, strict=True):
        values = plain(cell)
        if failed:
            assert is_nothing(values)
            continue
        if case.gives[at].dtype.startswith("float"):
            # A float32 is written as the shortest number that reads back as the same.
            values = plain(np.array(values, case.gives[at].dtype))
        assert plain(expected) == values


def check_columns(case: Case, columns: Mapping[str, Column]) -> None:
    """The same bytes; rows that failed too."""
    for at, output in enumerate(case.gives):
        for expected, cell in zip(case.cells(at), columns[output.name], strict=True):
            found = np.asarray(cell, object if output.dtype == "string" else None)
            np.testing.assert_array_equal(expected, found)
            assert expected.dtype == found.dtype


def check_npz(case: Case, path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    ids = [str(row) for row in range(len(case.failed))]
    assert ids == arrays.pop("ids").tolist()
    assert np.flatnonzero(case.failed).tolist() == arrays.pop("failed").tolist()
    assert sum(case.failed) == len(arrays.pop("reasons"))
    columns: dict[str, Column] = {}
    for output in case.gives:
        if output.is_open:
            own = {name: arrays.pop(name) for name in [*arrays] if name.startswith(output.name)}
            columns |= from_tensor_file(save(own), [output], where="here")
        elif output.dtype == "string":
            array = arrays.pop(output.name)
            texts = [text.encode() for text in array.ravel().tolist()]
            columns[output.name] = np.array(texts, object).reshape(array.shape)
        else:
            columns[output.name] = arrays.pop(output.name)
    assert {} == arrays
    check_columns(case, columns)


def check_safetensors(case: Case, path: Path) -> None:
    arrays = load(path.read_bytes())
    assert np.flatnonzero(case.failed).tolist() == arrays.pop("failed").tolist()
    reasons = bytes(arrays.pop("reasons.values")).decode()
    assert sum(case.failed) == reasons.count("broken") == len(arrays.pop("reasons.offsets")) - 1
    columns = from_tensor_file(save(arrays), [*case.gives, IDS], where="here")
    check_columns(case, columns)
    assert [str(row) for row in range(len(case.failed))] == plain([*columns["ids"]])


def check_table(case: Case, table: pa.Table) -> None:
    assert [str(row) for row in range(len(case.failed))] == table["item_id"].to_pylist()
    assert case.failed == [error is not None for error in table["error"].to_pylist()]
    for name, output, at in names_of(case):
        column = table[name]
        if isinstance(column.type, pa.FixedShapeTensorType):
            assert output.shape == column.type.shape
            column = pa.chunked_array(
                [chunk.storage for chunk in column.chunks], column.type.storage_type
            )
        shaped = [
            cell
            if cell is None or output.is_open or 0 in output.shape
            else np.array(cell, output.numpy_dtype).reshape(output.shape).tolist()
            for cell in column.to_pylist()
        ]
        check_cells(case, at, shaped if output.dtype != "string" else column.to_pylist())


def names_of(case: Case) -> list[tuple[str, OutputTensor, int]]:
    several = len(case.gives) > 1
    return [(out.name if several else "tensor", out, at) for at, out in enumerate(case.gives)]


def check_csv(case: Case, path: Path) -> None:
    header, *lines = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
    assert [str(row) for row in range(len(case.failed))] == [line[0] for line in lines]
    assert 3 + sum(output.width for output in case.gives) == len(header)


def check_every_way(case: Case, folder: Path) -> None:
    job = ended(case)
    results = job.results(partial=True)
    check_columns(case, results.outputs)
    assert case.failed == [row in results.errors for row in range(len(case.failed))]

    check_npz(case, exported(job, folder, "npz"))
    check_safetensors(case, exported(job, folder, "safetensors"))
    check_table(case, pq.read_table(exported(job, folder, "parquet")))
    check_table(case, pa.ipc.open_file(exported(job, folder, "arrow")).read_all())
    check_table(case, results.to_arrow())
    lines = exported(job, folder, "jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    records, frame = [json.loads(line) for line in lines], results.to_pandas()
    for name, _, at in names_of(case):
        check_cells(case, at, [record[name] for record in records])
        check_cells(case, at, [None if cell is pd.NA else cell for cell in frame[name]])
    if needs_tensor_file(case.gives):
        with pytest.raises(UsageError, match="npy holds one array of numbers, and m:1 gives "):
            exported(job, folder, "npy")
    else:
        check_columns(case, {case.gives[0].name: np.load(exported(job, folder, "npy"))})
    if any(len(output.shape) > 1 or output.is_open for output in case.gives):
        with pytest.raises(UsageError, match="fits no row of CSV"):
            exported(job, folder, "csv")
    else:
        check_csv(case, exported(job, folder, "csv"))


@given(case=cases())
@settings(deadline=None, max_examples=12)
def test_outputs_of_any_signature_come_back(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    check_every_way(case, tmp_path_factory.mktemp("any"))


@pytest.mark.slow
@given(case=cases())
@settings(deadline=None, max_examples=300)
def test_outputs_of_many_signatures_come_back(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    check_every_way(case, tmp_path_factory.mktemp("many"))
