"""Local files as items: rows of arrays in blocks, image files as they are."""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import IO

from fornada.errors import InputError, UsageError
from fornada.formats.images import check_image_input
from producer.inputs.archives import Archive, too_large
from producer.inputs.array_files import FileArray, reading
from producer.inputs.file_kinds import TEXT_KINDS
from producer.inputs.interface import Block, ImageFile, ItemBlock, LocalFiles, Signature, listed
from producer.inputs.named_arrays import array_blocks, arrays_in, named_blocks
from producer.inputs.paths import FoundFile, common_base, find_files, printable
from producer.inputs.tables.images import FetchUrl
from producer.inputs.tables.interface import NO_TABLE_OPTIONS, TABLE_KINDS, TableOptions
from producer.inputs.tables.local import local_table_blocks
from producer.inputs.text_files import text_lines, whole_text

_READ_THREADS = 4
#: Files that are read ahead of those that are being packed.
_MOST_AHEAD = 8
_MOST_AHEAD_BYTES = 32 * 1024 * 1024


def read_blocks(
    files: LocalFiles,
    signature: Signature,
    *,
    max_file_bytes: int,
    strict: bool,
    table: TableOptions = NO_TABLE_OPTIONS,
    fetch: FetchUrl | None = None,
    keeps_files: bool = False,
    tables_name_files: bool = True,
) -> Iterator[Block]:
    """The items of `files`, in order; every path is checked before the first is read.

    Arrays and lines of texts alone have no item ids. With an image file, or a text that is a file
    of a folder, every item has one: the file's path relative to the folder that all inputs share,
    where an archive counts as a folder; for a row of an array or a line `<path>#<row>`, of an
    `.npz` `<path>:<member>#<row>`.

    Args:
        files: What the caller gave; gets the files that are left out.
        signature: What the model takes.
        max_file_bytes: A larger image file is an item with an error.
        strict: Refuse what would be left out.
        table: Which columns of tables are which inputs.
        fetch: Reads objects whose addresses a table has.
        keeps_files: Whether images in a table beside other columns stay files, for workers to
            decode.
        tables_name_files: Whether a table may name files of this machine.

    Raises:
        InputError: A path is missing or does not fit; or no file can be read.
        UsageError: There are no paths, or columns are named and there is no table.
        MissingExtraError: There is a table, and pyarrow is not installed.
        LocalDiskError: The disk failed.
    """
    found = find_files(files, strict=strict)
    found = _of_one_family(found, signature, files, strict=strict)
    if found[0].kind in TABLE_KINDS:
        blocks = local_table_blocks(
            found,
            table,
            signature=signature,
            max_file_bytes=max_file_bytes,
            fetch=fetch,
            keeps_files=keeps_files,
            names_files=tables_name_files,
        )
        files.left_out.log()
        return blocks
    if table.is_given:
        raise UsageError(f"columns are for tables, and {found[0].where} is none; leave them out")
    images = [file for file in found if file.kind in {"image", "tar", "zip"}]
    if images:
        where = images[0].where
        taken = signature.only_input(
            where=f"{where} holds images alone",
            remedy="give a mapping of arrays and files, or an .npz or .safetensors file",
        )
        check_image_input(taken, where=where)
    arrays = {
        file: arrays_in(Path(file.path), file.kind, signature, where=file.where)
        for file in found
        if file.kind in {"npy", "npz", "idx", "safetensors"}
    }
    reader = _Reader(
        given=files,
        root=common_base(found) if images or any(f.kind == "text" for f in found) else None,
        signature=signature,
        max_file_bytes=max_file_bytes,
        strict=strict,
    )
    return reader.blocks(found, arrays)


def _of_one_family(
    found: list[FoundFile], signature: Signature, files: LocalFiles, *, strict: bool
) -> list[FoundFile]:
    """The files without texts, unless all are; and those without tables, unless all are."""
    for kinds, what in ((TEXT_KINDS, "text"), (frozenset(TABLE_KINDS), "table")):
        others = [file for file in found if file.kind not in kinds]
        for file in found if others else []:
            if file.kind in kinds:
                files.left_out.add(f"{file.where} is a {what}, and others are not; name it alone")
                if strict:
                    raise InputError(files.left_out.reasons[-1])
        found = others or found
    if found[0].kind in TEXT_KINDS:
        where = f"{found[0].where} holds texts"
        taken = signature.only_input(where=where, remedy="give a table with a column for each")
        if taken.dtype != "string":
            raise InputError(
                f"{where}, and {signature.model} takes {taken}; give numbers as .npy or a table"
            )
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    """Reads found files."""

    given: LocalFiles
    #: What item ids are relative to; `None` for no ids.
    root: str | None
    signature: Signature
    max_file_bytes: int
    strict: bool

    def blocks(
        self, files: Sequence[FoundFile], arrays: Mapping[FoundFile, list[FileArray]]
    ) -> Iterator[Block]:
        is_empty = True
        for block in self._each_block(files, arrays):
            is_empty = False
            yield block
        left_out = self.given.left_out
        if left_out.count and (is_empty or self.strict):
            raise InputError(listed(left_out.reasons, count=left_out.count))
        left_out.log()

    def _each_block(
        self, files: Sequence[FoundFile], arrays: Mapping[FoundFile, list[FileArray]]
    ) -> Iterator[Block]:
        for kind, run in groupby(files, key=lambda file: file.kind):
            if kind == "image":
                yield from self._images(run)
                continue
            for file in run:
                if kind in {"tar", "zip"}:
                    yield from self._members(file)
                elif kind in TEXT_KINDS:
                    yield from self._texts(file)
                elif len(self.signature.inputs) > 1 or kind == "safetensors":
                    blocks = named_blocks(
                        arrays[file], self.signature, Path(file.path), where=file.where
                    )
                    yield from self._with_ids(blocks, file)
                else:
                    for array in arrays[file]:
                        blocks = array_blocks(array, self.signature.inputs[0])
                        yield from self._with_ids(blocks, file, member=array.member)

    def _with_ids(
        self, blocks: Iterator[ItemBlock], file: FoundFile, *, member: str | None = None
    ) -> Iterator[ItemBlock]:
        first_row = 0
        for block in blocks:
            ids = None
            if self.root is not None:
                name = self._id_of(file.path) + (f":{member}" if member else "")
                ids = [f"{name}#{row}" for row in range(first_row, first_row + len(block.rows))]
            yield replace(block, item_ids=ids)
            first_row += len(block.rows)

    def _texts(self, file: FoundFile) -> Iterator[ItemBlock]:
        def opened() -> IO[bytes]:
            return Path(file.path).open("rb")

        (taken,) = self.signature.inputs
        model, where = self.signature.model, file.where
        most_bytes = self.max_file_bytes
        if file.kind == "lines":
            lines = text_lines(opened, taken, max_line_bytes=most_bytes, model=model, where=where)
            yield from self._with_ids(lines, file)
            return
        text = whole_text(opened, taken, max_file_bytes=most_bytes, model=model, where=where)
        yield replace(text, item_ids=[self._id_of(file.path)])

    def _members(self, file: FoundFile) -> Iterator[ImageFile]:
        archive = Archive(
            path=Path(file.path),
            is_zip=file.kind == "zip",
            where=file.where,
            selection=self.given.selection.within(Path(file.path).name),
            left_out=self.given.left_out,
            max_file_bytes=self.max_file_bytes,
        )
        for member in archive.files():
            item_id = self._id_of(os.path.join(file.path, member.name))  # noqa: PTH118 - text
            yield replace(member, item_id=item_id)

    def _images(self, files: Iterator[FoundFile]) -> Iterator[ImageFile]:
        """The files in order, read by a few threads."""
        ahead: deque[tuple[Future[ImageFile], int]] = deque()
        ahead_bytes = 0
        with ThreadPoolExecutor(_READ_THREADS) as pool:
            for file in files:
                size_bytes = _size_of(file)
                while ahead and (
                    len(ahead) == _MOST_AHEAD or ahead_bytes + size_bytes > _MOST_AHEAD_BYTES
                ):
                    future, done_bytes = ahead.popleft()
                    ahead_bytes -= done_bytes
                    yield future.result()
                ahead.append((pool.submit(self._image, file), size_bytes))
                ahead_bytes += size_bytes
            while ahead:
                yield ahead.popleft()[0].result()

    def _image(self, file: FoundFile) -> ImageFile:
        item_id, error, data = self._id_of(file.path), file.error, b""
        if error is None:
            try:
                with reading(file.where), Path(file.path).open("rb") as stream:
                    data = stream.read(self.max_file_bytes + 1)
            except InputError as exc:
                error = str(exc)
        if len(data) > self.max_file_bytes:
            data, error = b"", too_large(file.where, self.max_file_bytes)
        return ImageFile(name=file.path, data=data, item_id=item_id, error=error)

    def _id_of(self, path: str) -> str:
        return printable(os.path.relpath(path, self.root))


def _size_of(file: FoundFile) -> int:
    try:
        return os.path.getsize(file.path)  # noqa: PTH202 - text
    except OSError:
        # Reading it says why.
        return 0
