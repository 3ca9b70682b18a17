"""Write a job's results to a file or to standard output, shard by shard."""

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fornada.errors import FornadaError, LocalDiskError, UsageError
from producer.exporting.catalog import format_named
from producer.exporting.interface import Export


def write_results(export: Export, *, path: Path | None, fmt: str) -> None:
    """Write the results of a job, finished or not, one shard in memory at a time.

    `npy` is float32 [items, classes] in submission order; rows without a result are NaN. The other
    formats have a row for each item of the parts: item_id, label and score (the likeliest class),
    top_labels and top_scores (csv: top2_label, top2_score and so on), probabilities (csv: a column
    `p_<class>` each), error and model; for a regression item_id, each value under its name, error
    and model. Numbers read back as the same float32. For a failed item label, score, top and values
    are empty, and error says why.

    A file appears under its name only when it is complete.

    Args:
        export: The results.
        path: The file; `None` for standard output, which takes text formats.
        fmt: Name of the format.

    Raises:
        UsageError: There is no such format, it cannot be written there, or two columns would have
            the same name.
        MissingExtraError: A package that the format needs is not installed.
        LocalDiskError: The disk is full or refuses.
    """
    writer = format_named(fmt)
    with _opened(path, fmt, is_text=writer.is_text) as file:
        writer.write(export, file)


@contextmanager
def _opened(path: Path | None, fmt: str, *, is_text: bool) -> Iterator[IO[bytes]]:
    """Where to write; a regular file gets its name when the block succeeds."""
    if path is None or (path.exists() and not path.is_file() and not path.is_dir()):
        if not is_text:
            target = "standard output" if path is None else f"{path}, which is not a regular file"
            raise UsageError(f"{fmt} cannot be written to {target}; name a file with --output")
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
        # The command line handles a reader that stops early (`| head`).
        raise
    except OSError as exc:
        raise LocalDiskError(
            f"{target} cannot be written ({exc.strerror or exc}); free space there, or name "
            "another file with --output"
        ) from exc
