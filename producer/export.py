"""A job's results as a file: .npy, Parquet, CSV or JSON lines, written shard by shard."""

import csv
import io
import json
import math
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from fornada.errors import FornadaError, LocalDiskError, MissingExtraError, UsageError
from producer.results import ShardResult

Format = Literal["npy", "parquet", "csv", "jsonl"]

_TEXT_FORMATS = ("csv", "jsonl")
#: Values that are turned into text at a time; each takes some 200 bytes on the way.
_VALUES_AT_A_TIME = 65_536


@dataclass(frozen=True, kw_only=True, slots=True)
class _Table:
    """What all rows of an export have in common."""

    classes: Sequence[str]
    item_count: int
    top_k: int
    model: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Item:
    """One item, ready to be written as text."""

    item_id: str
    #: Classes, best first; of equals the earlier one. Empty where the item failed.
    order: list[int]
    #: Shortest numbers that read back as the same float32; `None` for NaN.
    values: list[float | None]
    error: str | None


def write_results(
    parts: Iterable[ShardResult],
    *,
    path: Path | None,
    fmt: Format,
    classes: Sequence[str],
    item_count: int,
    top_k: int = 3,
    model: str,
) -> None:
    """Write the results of a job, finished or not, one shard in memory at a time.

    `npy` is float32 [items, classes] in submission order; rows that failed or are not there yet
    are NaN. The others have a row for each item that is there: item_id, label and score (the most
    probable class), top_labels and top_scores (csv: top2_label, top2_score and so on),
    probabilities (csv: a column `p_<class>` each), error and model. Numbers read back as the
    same float32. For a failed item label, score and top are empty, and error says why.

    A file appears under its name only when it is whole.

    Args:
        parts: The shards' results, in submission order.
        path: Where to; `None` for standard output, which takes csv and jsonl.
        fmt: The format.
        classes: The model's classes.
        item_count: Items of the whole job.
        top_k: How many of the most probable classes to list.
        model: `name:version` of the model.

    Raises:
        UsageError: The format cannot go where it is to go.
        MissingExtraError: Parquet is asked for, and pyarrow is not installed.
        LocalDiskError: The disk is full, or refuses.
    """
    table = _Table(
        classes=classes, item_count=item_count, top_k=min(top_k, len(classes)), model=model
    )
    write = {"npy": _write_npy, "parquet": _write_parquet, "csv": _write_csv, "jsonl": _write_jsonl}
    with _opened(path, fmt) as file:
        write[fmt](parts, file, table)


@contextmanager
def _opened(path: Path | None, fmt: Format) -> Iterator[IO[bytes]]:
    """Where to write; a regular file gets its name when the block ends well."""
    if path is None or (path.exists() and not path.is_file() and not path.is_dir()):
        if fmt not in _TEXT_FORMATS:
            target = "standard output" if path is None else f"{path}, which is no regular file"
            raise UsageError(f"{fmt} cannot go to {target}; name a file with --output")
        with _disk_errors(path or "standard output"):
            if path is None:
                yield sys.stdout.buffer
                sys.stdout.buffer.flush()
            else:
                with path.open("wb") as device:
                    yield device
        return
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    partial = path.with_name(f".fornada-{uuid.uuid4().hex}.part")
    try:
        with _disk_errors(path):
            with partial.open("xb") as file:
                yield file
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _disk_errors(target: object) -> Iterator[None]:
    try:
        yield
    except (FornadaError, BrokenPipeError):
        # The command line knows what to do when a reader (`| head`) has enough.
        raise
    except OSError as exc:
        raise LocalDiskError(
            f"{target} cannot be written ({exc.strerror or exc}); free space there, or name "
            "another file with --output"
        ) from exc


def _write_npy(parts: Iterable[ShardResult], file: IO[bytes], table: _Table) -> None:
    # In order, not through a memory map: a map dies of SIGBUS when the disk is full.
    shape = (table.item_count, len(table.classes))
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(file, header)
    written = 0
    for part in parts:
        _write_missing(file, part.first_item - written, table)
        file.write(np.ascontiguousarray(part.probabilities, dtype="<f4").data)
        written = part.first_item + len(part.probabilities)
    _write_missing(file, table.item_count - written, table)


def _write_missing(file: IO[bytes], rows: int, table: _Table) -> None:
    step = max(1, _VALUES_AT_A_TIME // len(table.classes))
    for start in range(0, rows, step):
        missing = np.full((min(step, rows - start), len(table.classes)), np.nan, dtype="<f4")
        file.write(missing.data)


def _write_jsonl(parts: Iterable[ShardResult], file: IO[bytes], table: _Table) -> None:
    for items in _items(parts, table):
        lines = [json.dumps(_json_record(item, table), ensure_ascii=False) for item in items]
        file.write(_encoded("".join(f"{line}\n" for line in lines)))


def _json_record(item: _Item, table: _Table) -> dict[str, object]:
    top = item.order[: table.top_k]
    return {
        "item_id": item.item_id,
        "label": table.classes[item.order[0]] if item.order else None,
        "score": item.values[item.order[0]] if item.order else None,
        "top_labels": [table.classes[number] for number in top],
        "top_scores": [item.values[number] for number in top],
        "probabilities": item.values,
        "error": item.error,
        "model": table.model,
    }


def _write_csv(parts: Iterable[ShardResult], file: IO[bytes], table: _Table) -> None:
    places = range(2, table.top_k + 1)
    header = ["item_id", "label", "score"]
    header += [f"top{place}_{what}" for place in places for what in ("label", "score")]
    header += [*(f"p_{name}" for name in table.classes), "error", "model"]
    file.write(_csv_lines([header]))
    for items in _items(parts, table):
        file.write(_csv_lines(_csv_row(item, table) for item in items))


def _csv_row(item: _Item, table: _Table) -> list[object]:
    row: list[object] = [item.item_id]
    for place in range(max(1, table.top_k)):
        if item.order:
            number = item.order[place]
            row += [table.classes[number], item.values[number]]
        else:
            row += ["", ""]
    return [*row, *item.values, item.error, table.model]


def _csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return _encoded(text.getvalue())


def _encoded(text: str) -> bytes:
    # A lone surrogate has no UTF-8; in JSON its escape means the same.
    return text.encode("utf-8", "backslashreplace")


def _items(parts: Iterable[ShardResult], table: _Table) -> Iterator[list[_Item]]:
    step = max(1, _VALUES_AT_A_TIME // len(table.classes))
    for part in parts:
        for start in range(0, len(part.probabilities), step):
            rows = part.probabilities[start : start + step]
            # As text a float32 is as short as it can be; as float64 it stays so.
            short = rows.astype(str).astype(np.float64).tolist()
            order, fine = _order(rows, table)
            yield [
                _Item(
                    item_id=part.item_ids[start + row],
                    order=order[row].tolist() if fine[row] else [],
                    values=[value if math.isfinite(value) else None for value in short[row]],
                    error=part.errors.get(start + row),
                )
                for row in range(len(rows))
            ]


def _order(
    probabilities: NDArray[np.float32], table: _Table
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The best classes, int [items, max(1, top_k)], and which items have any."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, : max(1, table.top_k)]
    fine: NDArray[np.bool_] = np.asarray(np.isfinite(probabilities).all(axis=1))
    return order, fine


def _write_parquet(parts: Iterable[ShardResult], file: IO[bytes], table: _Table) -> None:
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional package
        from pyarrow import parquet  # noqa: PLC0415 - optional package
    except ImportError as exc:
        raise MissingExtraError(
            "parquet needs pyarrow, which is not installed; pip install 'fornada[parquet]'"
        ) from exc
    schema = pa.schema(
        [
            ("item_id", pa.string()),
            ("label", pa.string()),
            ("score", pa.float32()),
            ("top_labels", pa.list_(pa.string())),
            ("top_scores", pa.list_(pa.float32())),
            ("probabilities", pa.list_(pa.float32(), len(table.classes))),
            ("error", pa.string()),
            ("model", pa.string()),
        ]
    )
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in parts:
            columns = _columns(part, table)
            flat = pa.array(part.probabilities.ravel(), from_pandas=False)
            columns["probabilities"] = pa.FixedSizeListArray.from_arrays(flat, len(table.classes))
            writer.write_table(pa.table(columns, schema=schema))


def _columns(part: ShardResult, table: _Table) -> dict[str, Any]:
    order, fine = _order(part.probabilities, table)
    scores = np.take_along_axis(part.probabilities, order, axis=1)
    count = len(part.probabilities)
    labels = [[table.classes[number] for number in numbers] for numbers in order.tolist()]
    top = [row if fine[row] else None for row in range(count)]
    return {
        "item_id": [_encoded(item_id).decode() for item_id in part.item_ids],
        "label": [None if row is None else labels[row][0] for row in top],
        "score": [None if row is None else scores[row, 0] for row in top],
        "top_labels": [[] if row is None else labels[row][: table.top_k] for row in top],
        "top_scores": [[] if row is None else scores[row, : table.top_k] for row in top],
        "error": [part.errors.get(row) for row in range(count)],
        "model": [table.model] * count,
    }
