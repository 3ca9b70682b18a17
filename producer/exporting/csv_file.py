"""Results as CSV: a line for each item, a column for each class or value."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import IO

from producer.exporting.interface import Export
from producer.exporting.rows import encoded, records


def write_csv(export: Export, file: IO[bytes]) -> None:
    """Write `.csv`."""
    rows = export.rows
    file.write(_lines([rows.flat_header()]))
    for part in export.parts:
        for block in records(rows, part):
            file.write(_lines(map(rows.flat_row, block)))


def _lines(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return encoded(text.getvalue())
