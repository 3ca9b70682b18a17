"""Images in a column of a table: paths, addresses in the store, or the files themselves."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fornada.errors import (
    InputError,
    ObjectNotFoundError,
    StoreCredentialsError,
    StoreRefusedError,
)
from fornada.formats.tables.arrow import arrow
from fornada.parallel import in_parallel
from producer.inputs.archives import too_large
from producer.inputs.array_files import reading
from producer.inputs.interface import ImageFile

#: Address, most bytes -> the object's bytes, and one more where it has more.
FetchUrl = Callable[[str, int], bytes]

_URL = "s3://"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageReader:
    """Reads the image files that cells name or hold."""

    #: What paths are relative to; `None` for tables that may name no file of this machine.
    folder: Path | None
    #: A larger file is an item with an error.
    max_file_bytes: int
    #: Reads objects; `None` where there is no store.
    fetch: FetchUrl | None = None

    def files(
        self, cells: Any, item_ids: Sequence[str] | None, *, name: str, where: str
    ) -> Iterator[ImageFile]:
        """The files, read some at a time.

        Args:
            cells: An Arrow array of paths, addresses or files.
            item_ids: The caller's ids.
            name: Of the column, for error messages.
            where: For error messages.
        """
        values = cells.to_pylist()
        contents = in_parallel(lambda value: self._content_or_error(value, name), values)
        for row, (value, content) in enumerate(zip(values, contents, strict=True)):
            yield ImageFile(
                name=value if isinstance(value, str) else f"{where}: the image in {name!r}",
                data=content if isinstance(content, bytes) else b"",
                item_id=None if item_ids is None else item_ids[row],
                error=content if isinstance(content, str) else None,
            )

    def contents(self, cells: Any, *, name: str, where: str) -> tuple[Any, dict[int, str]]:
        """The files as an Arrow array of bytes; and row of one that cannot be read -> why."""
        files = list(self.files(cells, None, name=name, where=where))
        errors = {row: file.error for row, file in enumerate(files) if file.error is not None}
        data = [None if file.error is not None else file.data for file in files]
        return arrow().array(data, arrow().large_binary()), errors

    def _content_or_error(self, value: str | bytes | None, name: str) -> bytes | str:
        try:
            where = value[:200] if isinstance(value, str) else f"the image in {name!r}"
            data = self._content(value, name, where)
        except StoreCredentialsError:
            raise
        except InputError as exc:
            return str(exc)
        except (ObjectNotFoundError, StoreRefusedError) as exc:
            # The job's records have no address of the operator's.
            return f"{where} cannot be read: {exc.public_text}"
        return too_large(where, self.max_file_bytes) if len(data) > self.max_file_bytes else data

    def _content(self, value: str | bytes | None, name: str, where: str) -> bytes:
        if value is None:
            raise InputError(f"null in {name!r}")
        if isinstance(value, bytes):
            return value
        if value.startswith(_URL):
            if self.fetch is None:
                raise InputError(f"{where} is in the store, and calls read none; submit a job")
            return self.fetch(value, self.max_file_bytes)
        if self.folder is None:
            raise InputError(f"{where} is a path, and only local tables may name files")
        path = self.folder / value
        if not path.is_file():
            raise InputError(f"{where} is no file; check the path")
        with reading(where), path.open("rb") as stream:
            return stream.read(self.max_file_bytes + 1)
