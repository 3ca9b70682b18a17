"""The tables among local files."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from fornada.errors import InputError
from producer.inputs.interface import Block, Signature
from producer.inputs.paths import FoundFile
from producer.inputs.tables.catalog import open_table
from producer.inputs.tables.images import FetchUrl, ImageReader
from producer.inputs.tables.interface import TABLE_KINDS, Table, TableOptions
from producer.inputs.tables.reading import table_blocks


def open_tables(found: Sequence[FoundFile]) -> list[Table]:
    """The tables in files, of which headers are read.

    Raises:
        InputError: A file is no table, or damaged.
        MissingExtraError: pyarrow is not installed.
        LocalDiskError: The disk failed.
    """
    tables = []
    for file in found:
        kind = next((kind for kind in TABLE_KINDS if kind == file.kind), None)
        if kind is None:
            raise InputError(
                f"{file.where} is no table, and others are; submit tables alone, or exclude it"
            )
        folder = Path(os.path.relpath(file.path, file.base)).parent
        tables.append(
            open_table(
                partial(_opened, file.path),
                kind,
                folder=folder.as_posix(),
                where=file.where,
            )
        )
    return tables


def _opened(path: str) -> IO[bytes]:
    return Path(path).open("rb")


def local_table_blocks(
    found: Sequence[FoundFile],
    options: TableOptions,
    *,
    signature: Signature,
    max_file_bytes: int,
    fetch: FetchUrl | None = None,
    keeps_files: bool = False,
    names_files: bool = True,
) -> Iterator[Block]:
    """The rows of all tables as items, in order; every header is checked now.

    Args:
        found: Files of tables, at least one.
        options: What the caller says about columns.
        signature: What the model takes.
        max_file_bytes: A larger image file is an item with an error.
        fetch: Reads objects whose addresses a table has.
        keeps_files: Whether images beside other columns stay files, for workers to decode.
        names_files: Whether a table may name files of this machine.

    Raises:
        InputError: One is no table, damaged, or does not fit the model.
        UsageError: Columns are given for an input that the model lacks.
        MissingExtraError: pyarrow is not installed.
        LocalDiskError: The disk failed.
    """
    return table_blocks(
        open_tables(found),
        options,
        signature=signature,
        images=ImageReader(
            folder=Path(found[0].path).parent if names_files else None,
            max_file_bytes=max_file_bytes,
            fetch=fetch,
        ),
        keeps_files=keeps_files,
    )
