"""Results as JSON lines: an object for each item."""

from typing import IO

from fornada.trust.printable import printable_json
from producer.exporting.interface import Export
from producer.exporting.rows import encoded, records


def write_jsonl(export: Export, file: IO[bytes]) -> None:
    """Write `.jsonl`."""
    rows = export.rows
    for part in export.parts:
        for block in records(rows, part):
            lines = [printable_json(record) for record in block]
            file.write(encoded("".join(f"{line}\n" for line in lines)))
