"""Results as CSV: a line for each item, a column for each class or value."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import IO

from producer.exporting.interface import Export
from producer.exporting.rows import encoded, records

#: How a cell begins that a spreadsheet runs, perhaps after apostrophes that it was given here.
_RUN_BY_SPREADSHEETS = re.compile(r"'*[=+\-@\t\r\n]")


def write_csv(export: Export, file: IO[bytes]) -> None:
    """Write `.csv`."""
    rows = export.rows

    def lines(cells: Iterable[Sequence[object]]) -> bytes:
        return _lines(cells if export.is_raw else (map(spreadsheet_safe, row) for row in cells))

    file.write(lines([rows.flat_header()]))
    for part in export.parts:
        for block in records(rows, part):
            file.write(lines(map(rows.flat_row, block)))


def spreadsheet_safe(cell: object) -> object:
    """The cell; text that a spreadsheet would run as a formula gets `'` in front.

    What begins so already gets another one, so that dropping one gives the text back.
    """
    if isinstance(cell, str) and _RUN_BY_SPREADSHEETS.match(cell):
        return f"'{cell}"
    return cell


def _lines(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return encoded(text.getvalue())
