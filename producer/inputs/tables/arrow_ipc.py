"""Arrow files and streams, `.feather` too."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fornada.formats.tables.arrow import arrow, reading_table
from fornada.formats.tables.binding import types_by_name
from producer.inputs.array_files import reading
from producer.inputs.tables.interface import Open

#: How a file begins; a stream does not.
FILE_MAGIC = b"ARROW1"


class ArrowTable:
    """A file of Arrow's own format."""

    parsed: frozenset[str] = frozenset()

    def __init__(self, opened: Open, *, where: str) -> None:
        self.where = where
        self._open = opened
        with self._opened(None) as batches:
            schema = batches.schema
        self._names = schema.names
        self.column_types: Mapping[str, Any] = types_by_name(schema, where=where)

    def batches(
        self,
        names: Sequence[str],
        *,
        row_count: int,
        floats: Collection[str] = (),  # noqa: ARG002 - types are known
    ) -> Iterator[Any]:
        """As `Table`."""
        with self._opened([self._names.index(name) for name in names]) as batches:
            count = getattr(batches, "num_record_batches", None)
            numbers = iter(int, 1) if count is None else range(count)
            for number in numbers:
                with reading(self.where), reading_table(self.where):
                    try:
                        batch = (
                            batches.read_next_batch()
                            if count is None
                            else batches.get_batch(number)
                        )
                    except StopIteration:
                        return
                for first in range(0, batch.num_rows, row_count):
                    yield batch.slice(first, row_count)

    @contextmanager
    def _opened(self, fields: Sequence[int] | None) -> Iterator[Any]:
        pa, ipc = arrow(), arrow("ipc")
        options = ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        with reading(self.where), self._open() as file:
            with reading_table(self.where):
                is_file = file.read(len(FILE_MAGIC)) == FILE_MAGIC
                file.seek(0)
                opened = ipc.open_file if is_file else ipc.open_stream
                batches = opened(pa.PythonFile(file, mode="r"), options=options)
            yield batches
