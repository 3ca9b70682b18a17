"""CSV files, gzipped or not: every cell is text, and numbers are parsed a batch at a time."""

import re
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from csv import Error as csv_error  # noqa: N813 - a name that says whose
from csv import field_size_limit, reader
from io import StringIO, TextIOWrapper
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
_QUOTED = re.compile(r'"[^"]*"')
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


class CsvTable:
    """A CSV file whose first line names its columns; `,`, `;`, tab or `|` separates them."""

    def __init__(self, opened: Open, *, where: str) -> None:
        self.where = where
        self._open = opened
        header = first_line(opened, where=where)
        self._delimiter = max(_DELIMITERS, key=_QUOTED.sub("", header).count)
        self._names = self._header(header)
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

    def _header(self, line: str) -> list[str]:
        try:
            return next(reader(StringIO(line, newline=""), delimiter=self._delimiter), [])
        except csv_error as exc:
            raise InputError(
                f"{self.where} has no line of column names ({exc}); end lines with a line feed"
            ) from exc

    def _read(self, names: Sequence[str]) -> Iterator[Any]:
        # What an open quote swallows is the end of the last column, or no row.
        last, last_cell = self._names[-1], ""
        with self._opened(list(dict.fromkeys([*names, last]))) as batches:
            while True:
                with reading(self.where), reading_table(self.where):
                    try:
                        batch = batches.read_next_batch()
                    except StopIteration:
                        break
                if batch.num_rows:
                    last_cell = batch.column(last)[-1].as_py()
                yield batch.select(list(names))
        if "\n" in last_cell:
            self._check_quotes(last_cell)

    def _check_quotes(self, last_cell: str) -> None:
        """Check that the last cell, which has several lines, ends before the file does.

        Raises:
            InputError: It has no closing quote.
        """
        with reading(self.where), opened_text(self._open) as stream:
            lines = TextIOWrapper(stream, "utf-8-sig", newline="")
            try:
                deque(reader(lines, delimiter=self._delimiter, strict=True), maxlen=0)
            except csv_error as exc:
                is_long = len(last_cell) > field_size_limit()
                if "unexpected end of data" in str(exc) or is_long:
                    raise InputError(
                        f"{self.where}: the quote before {last_cell[:40]!r} in column "
                        f"{self._names[-1]!r} is never closed; close it, or write it as two"
                    ) from exc

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
