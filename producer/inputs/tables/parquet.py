"""Parquet files: types from the footer, rows in batches."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fornada.formats.tables.arrow import arrow, reading_table
from fornada.formats.tables.binding import types_by_name
from producer.inputs.array_files import reading
from producer.inputs.tables.interface import Open

#: Read at a time of each column.
_BUFFER_BYTES = 1024 * 1024


class ParquetTable:
    """A Parquet file."""

    parsed: frozenset[str] = frozenset()

    def __init__(self, opened: Open, *, where: str) -> None:
        self.where = where
        self._open = opened
        with self._opened() as file:
            schema = file.schema_arrow
        self.column_types: Mapping[str, Any] = types_by_name(schema, where=where)

    def batches(
        self,
        names: Sequence[str],
        *,
        row_count: int,
        floats: Collection[str] = (),  # noqa: ARG002 - types are known
    ) -> Iterator[Any]:
        """As `Table`."""
        with self._opened() as file, reading(self.where), reading_table(self.where):
            yield from file.iter_batches(
                batch_size=row_count, columns=list(names), use_threads=False
            )

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with reading(self.where), self._open() as stream:
            with reading_table(self.where):
                # Column chunks are read in parts: a row group may be larger than memory.
                file = arrow("parquet").ParquetFile(
                    arrow().PythonFile(stream, mode="r"),
                    pre_buffer=False,
                    buffer_size=_BUFFER_BYTES,
                )
            yield file
