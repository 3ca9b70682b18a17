"""CSV files, gzipped or not: every cell is text, and numbers are parsed a batch at a time."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from csv import reader
from typing import Any

from fornada.errors import InputError
from fornada.formats.tables.arrow import arrow, reading_table
from producer.inputs.array_files import reading
from producer.inputs.tables.interface import Open
from producer.inputs.tables.text_file import first_line, opened_text

_BLOCK_BYTES = 4 * 1024 * 1024
#: Each takes pyarrow kilobytes, and about 0.1 ms.
_MOST_COLUMNS = 100_000
_DELIMITERS = (",", ";", "\t", "|")
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


class CsvTable:
    """A CSV file whose first line names its columns; `,`, `;`, tab or `|` separates them."""

    def __init__(self, opened: Open, *, where: str) -> None:
        self.where = where
        self._open = opened
        header = first_line(opened, where=where)
        self._delimiter = max(_DELIMITERS, key=header.count)
        self._names = next(reader([header], delimiter=self._delimiter), [])
        twice = {name for name, count in Counter(self._names).items() if count > 1}
        if len(self._names) > _MOST_COLUMNS:
            raise InputError(
                f"{where} has {len(self._names)} columns, and at most {_MOST_COLUMNS} are read; "
                "write lists of numbers as Parquet"
            )
        if twice:
            raise InputError(f"{where} has several columns {min(twice)!r}; name each differently")
        if all(map(_is_number, self._names)):
            raise InputError(
                f"{where} has no line of column names: it begins with {header[:60]!r}; write one "
                "first"
            )
        first = next(self._read(self._names), None)
        if first is None:
            raise InputError(f"{where} has no rows; give at least one")
        #: At least half of a column's first cells are numbers.
        self.parsed = frozenset(name for name in self._names if _holds_numbers(first.column(name)))
        self.column_types: Mapping[str, Any] = dict.fromkeys(self._names, arrow().string())

    def batches(
        self,
        names: Sequence[str],
        *,
        row_count: int,
        floats: Collection[str] = (),  # noqa: ARG002 - types are known
    ) -> Iterator[Any]:
        """As `Table`."""
        for batch in self._read(names):
            for first in range(0, batch.num_rows, row_count):
                yield batch.slice(first, row_count)

    def _read(self, names: Sequence[str]) -> Iterator[Any]:
        with self._opened(names) as batches:
            while True:
                with reading(self.where), reading_table(self.where):
                    try:
                        batch = batches.read_next_batch()
                    except StopIteration:
                        return
                yield batch

    @contextmanager
    def _opened(self, names: Sequence[str]) -> Iterator[Any]:
        csv = arrow("csv")
        convert = csv.ConvertOptions(
            column_types=dict.fromkeys(names, arrow().string()), include_columns=list(names)
        )
        parse = csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True)
        read = csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False)
        with reading(self.where), opened_text(self._open) as stream:
            with reading_table(self.where):
                batches = csv.open_csv(
                    stream, read_options=read, parse_options=parse, convert_options=convert
                )
            yield batches


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _holds_numbers(cells: Any) -> bool:
    pa, pc = arrow(), arrow("compute")
    is_word = pc.is_in(pc.utf8_lower(cells), value_set=pa.array(["true", "false"]))
    is_number = pc.or_(pc.match_substring_regex(cells, _NUMBER), is_word)
    is_filled = pc.not_equal(pc.utf8_trim_whitespace(cells), "")
    filled_count: int = pc.sum(is_filled).as_py() or 0
    return bool(2 * (pc.sum(is_number).as_py() or 0) >= filled_count)
