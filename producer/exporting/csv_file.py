"""Results as CSV: a line for each item, a column for each class or value."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import IO

from producer.exporting.interface import Export
from producer.exporting.rows import encoded


class CsvFormat:
    """Writes `.csv`."""

    is_text = True

    def write(self, export: Export, file: IO[bytes]) -> None:
        """As `Format`."""
        rows = export.rows
        file.write(_lines([rows.flat_header()]))
        for part in export.parts:
            for records in rows.records(part):
                file.write(_lines(map(rows.flat_row, records)))


def _lines(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return encoded(text.getvalue())
