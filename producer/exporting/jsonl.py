"""Results as JSON lines: an object for each item."""

import json
from typing import IO

from producer.exporting.interface import Export
from producer.exporting.rows import encoded


class JsonLinesFormat:
    """Writes `.jsonl`."""

    is_text = True

    def write(self, export: Export, file: IO[bytes]) -> None:
        """As `Format`."""
        rows = export.rows
        for part in export.parts:
            for records in rows.records(part):
                lines = [json.dumps(record, ensure_ascii=False) for record in records]
                file.write(encoded("".join(f"{line}\n" for line in lines)))
