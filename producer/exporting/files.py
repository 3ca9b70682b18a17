"""Write a job's results to a file or to standard output, shard by shard."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from fornada.commands.output import text_stdout
from fornada.errors import FornadaError, LocalDiskError, UsageError
from fornada.files.refusals import what_helps
from producer.exporting.catalog import FORMATS
from producer.exporting.interface import Export
from producer.exporting.rows import encoded
from producer.item_results import ShardResult


def write_results(export: Export, *, path: Path | None, fmt: str) -> list[Path]:
    """Write the results of a job, finished or not, one shard in memory at a time.

    Files of arrays have the outputs in submission order, with NaN in rows without a result, or
    zeros where the dtype has no NaN. `npy` has one output; a file of ids beside it has a line for
    each item. `npz` and `safetensors` have all, the ids, and why rows failed.

    The other formats have a row for each item: item_id, the columns of the outputs' kinds, error
    and model. Numbers read back the same. For a failed item the columns of the kind are empty, and
    error says why. A score is the probability of its label, whatever the kind.

    - probabilities: label, score, top_labels and top_scores (csv: top2_label, top2_score and so
      on), probabilities (csv: `p_<class>` each)
    - binary: label, score, `p_<second class>`
    - multilabel: labels and scores of the classes that apply (csv: JSON arrays), probabilities
      (csv: `p_<class>` each)
    - values: each value under its name
    - embedding: embedding (csv: `e_0`, `e_1` and so on)
    - tensor: tensor, in lists of lists (csv: `t_0` and so on of a vector, and no others); in
      `parquet` and `arrow` a tensor of fixed shape, or lists where the shape is open

    Of several outputs, columns begin with the output's name: `kind.label`; an embedding, a tensor
    or a value without a name has that name alone.

    A file appears under its name only when it is complete.

    Args:
        export: The results.
        path: The file; `None` for standard output, which takes text formats.
        fmt: Name of the format.

    Returns:
        The files written.

    Raises:
        UsageError: There is no such format, it has no use for an option, it cannot be written
            there, or two columns would have the same name.
        MissingExtraError: A package that the format needs is not installed.
        LocalDiskError: The disk is full or refuses.
    """
    if fmt not in FORMATS:
        raise UsageError(f"there is no format {fmt!r}; there are {', '.join(FORMATS)}")
    check_options(export, fmt)
    with _disk_errors(path or "standard output"), ExitStack() as files:
        file = files.enter_context(_opened(path, fmt))
        if path is None or not FORMATS[fmt].ids_beside:
            FORMATS[fmt].write(export, file)
            return [] if path is None else [path]
        ids_path = path.with_name(f"{path.name.removesuffix(f'.{fmt}')}.ids.txt")
        ids_file = files.enter_context(_opened(ids_path, fmt))
        parts = _with_ids_written(export.parts, ids_file, ids_path)
        FORMATS[fmt].write(replace(export, parts=parts), file)
        return [path, ids_path]


def save_results(chunks: Iterable[bytes], *, path: Path | None, fmt: str) -> list[Path]:
    """Write results that a gateway wrote already; as `write_results`, without ids beside `npy`."""
    with _disk_errors(path or "standard output"), _opened(path, fmt) as file:
        for chunk in chunks:
            file.write(chunk)
    return [] if path is None else [path]


def check_options(export: Export, fmt: str) -> None:
    """Check that a format has a use for the options.

    Raises:
        UsageError: It has not.
    """
    if export.top_k is not None and not FORMATS[fmt].has_rows:
        raise UsageError(f"{fmt} has all outputs and lists no classes; leave top_k out")
    if export.carried and not FORMATS[fmt].has_rows:
        raise UsageError(f"{fmt} has arrays and no rows; leave --with-columns out")
    if export.is_raw and not FORMATS[fmt].is_for_spreadsheets:
        raise UsageError(f"no spreadsheet runs cells of {fmt}; leave --raw out")


def _with_ids_written(
    parts: Iterable[ShardResult], file: IO[bytes], path: Path
) -> Iterator[ShardResult]:
    for part in parts:
        for item_id in part.item_ids:
            if "\n" in item_id or "\r" in item_id:
                raise UsageError(
                    f"item id {item_id!r} has a line break, and {path} a line for each; use "
                    "format npz"
                )
        file.write(encoded("".join(f"{item_id}\n" for item_id in part.item_ids)))
        yield part


@contextmanager
def _opened(path: Path | None, fmt: str) -> Iterator[IO[bytes]]:
    """Where to write; a regular file gets its name when the block succeeds."""
    if path is None or (path.exists() and not path.is_file() and not path.is_dir()):
        if not FORMATS[fmt].is_text:
            target = "standard output" if path is None else f"{path}, which is not a regular file"
            raise UsageError(f"{fmt} cannot be written to {target}; name a file with --output")
        if path is None:
            stream = text_stdout()
            yield stream
            stream.flush()
        else:
            with path.open("wb") as device:
                yield device
        return
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    partial = path.with_name(f".fornada-{uuid.uuid4().hex}.part")
    try:
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
        # The command line handles a reader that stops early (`| head`).
        raise
    except OSError as exc:
        raise LocalDiskError(
            f"{target} cannot be written ({exc.strerror or exc}); {what_helps(exc)}, or name "
            "another file with --output"
        ) from exc
