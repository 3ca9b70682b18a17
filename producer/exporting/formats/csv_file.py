"""Results as CSV: a line for each item, a column for each class, value or number of a vector."""

import csv
import io
import re
from collections.abc import Iterable
from typing import IO, Any

from producer.exporting.interface import Export
from producer.exporting.rows import encoded

#: How a cell begins that a spreadsheet runs, perhaps after spaces, which some drop, or after
#: apostrophes that it was given here. Full-width signs count as the others.
_RUN_BY_SPREADSHEETS = re.compile(r"['\s]*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]")


def write_csv(export: Export, file: IO[bytes]) -> None:
    """Write `.csv`."""
    rows, is_raw = export.rows, export.is_raw
    file.write(csv_lines([rows.flat_header()], is_raw=is_raw))
    for part in export.parts:
        for columns in rows.flat_blocks(part):
            safe = columns if is_raw else map(_safe_column, columns)
            file.write(csv_lines(zip(*safe, strict=True), is_raw=True))


def csv_lines(rows: Iterable[Iterable[object]], *, is_raw: bool) -> bytes:
    """Rows as CSV, UTF-8. Unless `is_raw`, no cell is one that a spreadsheet would run."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows if is_raw else (map(_spreadsheet_safe, row) for row in rows))
    return encoded(text.getvalue())


def _safe_column(cells: list[Any]) -> list[Any]:
    return [*map(_spreadsheet_safe, cells)] if str in {*map(type, cells)} else cells


def _spreadsheet_safe(cell: object) -> object:
    """The cell; text that a spreadsheet would run as a formula gets `'` in front.

    What begins so already gets another one, so that dropping one gives the text back.
    """
    if isinstance(cell, str) and _RUN_BY_SPREADSHEETS.match(cell):
        return f"'{cell}"
    return cell
