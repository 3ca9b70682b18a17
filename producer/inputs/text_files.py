"""Text files as items of a model of strings: an item a line, or an item a file."""

import codecs
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, cast

from fornada.errors import InputError
from fornada.formats.fitting import fit_items
from fornada.formats.idx import GZIP_MAGIC
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor
from producer.inputs.archives import too_large
from producer.inputs.array_files import reading
from producer.inputs.data.conversion import in_cells
from producer.inputs.interface import ItemBlock
from producer.inputs.tables.interface import Open

_LINES_AT_A_TIME = 8192
_BLOCK_BYTES = 4 * 1024 * 1024


def text_lines(
    opened: Open, taken: InputTensor, *, max_line_bytes: int, model: str, where: str
) -> Iterator[ItemBlock]:
    """The lines of a file in UTF-8, gzipped or not; an empty line is an empty text.

    A line that is not UTF-8, or too long, fails alone.

    Raises:
        InputError: The model's strings have another shape, or the file is damaged.
        LocalDiskError: The disk failed.
    """
    with reading(where), _unpacked(opened) as stream:
        lines: list[bytes | str] = []
        size_bytes = 0
        for line in _lines(stream, max_line_bytes, where=where):
            lines.append(line)
            size_bytes += len(line)
            if len(lines) == _LINES_AT_A_TIME or size_bytes > _BLOCK_BYTES:
                yield _block(lines, taken, model=model, where=where)
                lines, size_bytes = [], 0
        if lines:
            yield _block(lines, taken, model=model, where=where)


def whole_text(
    opened: Open, taken: InputTensor, *, max_file_bytes: int, model: str, where: str
) -> ItemBlock:
    """A file in UTF-8, gzipped or not, as one item, which fails if it cannot be read.

    Raises:
        InputError: The model's strings have another shape.
        LocalDiskError: The disk failed.
    """
    text: bytes | str
    try:
        with reading(where), _unpacked(opened) as stream:
            text = stream.read(max_file_bytes + 1).removeprefix(codecs.BOM_UTF8)
    except InputError as exc:
        text = str(exc)
    if len(text) > max_file_bytes:
        text = too_large(where, max_file_bytes)
    return _block([text], taken, model=model, where=where)


def _lines(stream: IO[bytes], max_line_bytes: int, *, where: str) -> Iterator[bytes | str]:
    """The lines without their ends; of a line that is too long, why it is no item."""
    first = True
    while line := stream.readline(max_line_bytes + 2):
        if first:
            line, first = line.removeprefix(codecs.BOM_UTF8), False
        is_whole = line.endswith(b"\n")
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if len(text) <= max_line_bytes:
            yield text
            continue
        while line and not is_whole:
            line = stream.readline(_BLOCK_BYTES)
            is_whole = line.endswith(b"\n")
        yield too_large(f"a line of {where}", max_line_bytes)


def _block(
    texts: Sequence[bytes | str], taken: InputTensor, *, model: str, where: str
) -> ItemBlock:
    """The texts that are bytes as items; the others say why they are none."""
    cells = in_cells([b"" if isinstance(text, str) else text for text in texts])
    rows, errors = fit_items(cells, taken, model=model, where=where)
    errors |= {n: text for n, text in enumerate(texts) if isinstance(text, str)}
    return ItemBlock(rows=Rows(rows), item_ids=None, where=where, errors=errors)


@contextmanager
def _unpacked(opened: Open) -> Iterator[IO[bytes]]:
    with opened() as file:
        is_packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        if not is_packed:
            yield file
            return
        with gzip.open(file) as unpacked:
            yield cast(IO[bytes], unpacked)
