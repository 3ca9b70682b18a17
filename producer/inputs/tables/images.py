"""Images in a column of a table: paths of files, or the encoded files themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fornada.errors import InputError
from fornada.formats.tables.arrow import arrow
from producer.inputs.archives import too_large
from producer.inputs.array_files import reading
from producer.inputs.interface import ImageFile


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageReader:
    """Reads the image files that cells name or hold."""

    #: What paths are relative to.
    folder: Path | None
    #: A larger file is an item with an error.
    max_file_bytes: int

    def files(
        self, cells: Any, item_ids: Sequence[str] | None, *, name: str, where: str
    ) -> Iterator[ImageFile]:
        """The files, one at a time.

        Args:
            cells: An Arrow array of paths or files.
            item_ids: The caller's ids.
            name: Of the column, for error messages.
            where: For error messages.
        """
        for row, cell in enumerate(cells):
            value, error, data = cell.as_py(), None, b""
            label = value if isinstance(value, str) else f"{where}: the image in {name!r}"
            try:
                data = self._content(value, name)
            except InputError as exc:
                error = str(exc)
            yield ImageFile(
                name=label,
                data=data,
                item_id=None if item_ids is None else item_ids[row],
                error=error,
            )

    def contents(self, cells: Any, *, name: str, where: str) -> tuple[Any, dict[int, str]]:
        """The files as an Arrow array of bytes; and row of one that cannot be read -> why."""
        files = list(self.files(cells, None, name=name, where=where))
        errors = {row: file.error for row, file in enumerate(files) if file.error is not None}
        data = [None if file.error is not None else file.data for file in files]
        return arrow().array(data, arrow().large_binary()), errors

    def _content(self, value: str | bytes | None, name: str) -> bytes:
        if value is None:
            raise InputError(f"null in {name!r}")
        if isinstance(value, bytes):
            data, where = value, f"the image in {name!r}"
        else:
            where = value[:200]
            if self.folder is None:
                raise InputError(f"{where} is a path, and only local tables may name files")
            with reading(where), (self.folder / value).open("rb") as stream:
                data = stream.read(self.max_file_bytes + 1)
        if len(data) > self.max_file_bytes:
            raise InputError(too_large(where, self.max_file_bytes))
        return data
