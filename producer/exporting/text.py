"""Results as CSV and JSON lines."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import IO

from producer.exporting.rows import Rows, encoded
from producer.results import ShardResult


def _write_jsonl(parts: Iterable[ShardResult], file: IO[bytes], rows: Rows) -> None:
    for part in parts:
        for records in rows.records(part):
            lines = [json.dumps(record, ensure_ascii=False) for record in records]
            file.write(encoded("".join(f"{line}\n" for line in lines)))


def _write_csv(parts: Iterable[ShardResult], file: IO[bytes], rows: Rows) -> None:
    file.write(_csv_lines([rows.csv_header()]))
    for part in parts:
        for records in rows.records(part):
            file.write(_csv_lines(map(rows.csv_row, records)))


def _csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return encoded(text.getvalue())
