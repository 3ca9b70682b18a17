"""A job's results as a file: .npy, Parquet, CSV or JSON lines, written shard by shard."""

import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from fornada.errors import FornadaError, LocalDiskError, UsageError
from fornada.records import Task
from producer.exporting.npy import _write_npy
from producer.exporting.parquet import _write_parquet
from producer.exporting.rows import ClassRows, Rows, ValueRows
from producer.exporting.text import _write_csv, _write_jsonl
from producer.results import ShardResult

Format = Literal["npy", "parquet", "csv", "jsonl"]

_TEXT_FORMATS = ("csv", "jsonl")


def write_results(
    parts: Iterable[ShardResult],
    *,
    path: Path | None,
    fmt: Format,
    classes: Sequence[str],
    item_count: int,
    top_k: int = 3,
    model: str,
    task: Task = "classification",
) -> None:
    """Write the results of a job, finished or not, one shard in memory at a time.

    `npy` is float32 [items, classes] in submission order; rows that failed or are not there yet
    are NaN. The others have a row for each item that is there: item_id, label and score (the most
    probable class), top_labels and top_scores (csv: top2_label, top2_score and so on),
    probabilities (csv: a column `p_<class>` each), error and model; of a regression item_id, each
    value under its name, error and model. Numbers read back as the same float32. For a failed
    item label, score, top and values are empty, and error says why.

    A file appears under its name only when it is whole.

    Args:
        parts: The shards' results, in submission order.
        path: Where to; `None` for standard output, which takes csv and jsonl.
        fmt: The format.
        classes: The model's classes, or the names of its values.
        item_count: Items of the whole job.
        top_k: How many of the most probable classes to list.
        model: `name:version` of the model.
        task: What the model does.

    Raises:
        UsageError: The format cannot go where it is to go, or two columns have one name.
        MissingExtraError: Parquet is asked for, and pyarrow is not installed.
        LocalDiskError: The disk is full, or refuses.
    """
    if fmt == "npy":
        with _opened(path, fmt) as file:
            _write_npy(parts, file, item_count=item_count, column_count=len(classes))
        return
    rows: Rows
    if task == "regression":
        rows = ValueRows(names=classes, model=model)
    else:
        rows = ClassRows(classes=classes, top_k=min(top_k, len(classes)), model=model)
    write = {"parquet": _write_parquet, "csv": _write_csv, "jsonl": _write_jsonl}
    with _opened(path, fmt) as file:
        write[fmt](parts, file, rows)


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
