"""Results as JSON lines: an object for each item."""

from typing import IO

from fornada.trust.printable import printable_json
from producer.exporting.interface import Export
from producer.exporting.rows import encoded, records

#: Of every object.
_BEGIN = '{"item_id": '


def write_jsonl(export: Export, file: IO[bytes]) -> None:
    """Write `.jsonl`."""
    rows = export.rows
    for part in export.parts:
        for block in records(rows, part):
            # All in one call. Quotes in texts are escaped, so that this begins objects alone.
            lines = printable_json(block)[1:-1].replace(f"}}, {_BEGIN}", f"}}\n{_BEGIN}")
            file.write(encoded(f"{lines}\n"))
