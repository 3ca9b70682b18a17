"""SageMaker's manifest files: a JSON list of objects below a common prefix, as a table."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from fornada.errors import InputError
from fornada.formats.tables.arrow import arrow
from producer.inputs.array_files import reading
from producer.inputs.tables.interface import Open

#: The only column.
COLUMN = "image"
_MAX_BYTES = 256 * 1024 * 1024


class ManifestTable:
    """`[{"prefix": "s3://bucket/images/"}, "a.jpg", "b.jpg"]`: a column of addresses."""

    parsed: frozenset[str] = frozenset()

    def __init__(self, opened: Open, *, where: str) -> None:
        self.where = where
        with reading(where), opened() as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise InputError(f"{where} has over {_MAX_BYTES} bytes; split it")
        try:
            first, *names = json.loads(data)
            prefix = first["prefix"]
        except (ValueError, TypeError, LookupError, RecursionError) as exc:
            raise self._unreadable() from exc
        if not isinstance(prefix, str) or not all(isinstance(name, str) for name in names):
            raise self._unreadable()
        if not names:
            raise InputError(f"{where} has no rows; give at least one object")
        #: Of the objects.
        self.urls = [prefix + name for name in names]
        self.column_types: Mapping[str, Any] = {COLUMN: arrow().string()}

    def batches(
        self,
        names: Sequence[str],
        *,
        row_count: int,
        floats: Collection[str] = (),  # noqa: ARG002 - there are no numbers
    ) -> Iterator[Any]:
        """As `Table`."""
        pa = arrow()
        for first in range(0, len(self.urls), row_count):
            urls = pa.array(self.urls[first : first + row_count], pa.string())
            yield pa.record_batch([urls] * len(names), names=list(names))

    def _unreadable(self) -> InputError:
        return InputError(
            f'{self.where} is no manifest as [{{"prefix": "s3://bucket/folder/"}}, "a.jpg", …]; '
            "write it so"
        )
