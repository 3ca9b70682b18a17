"""Files of lines, gzipped or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fornada.errors import InputError
from fornada.formats.idx import GZIP_MAGIC
from fornada.formats.tables.arrow import arrow, reading_table
from producer.inputs.array_files import reading
from producer.inputs.tables.interface import Open

#: Of the first line; a table has no more than some ten thousand columns.
_LINE_BYTES = 4 * 1024 * 1024


@contextmanager
def opened_text(opened: Open) -> Iterator[Any]:
    """The bytes of a file as a stream of Arrow's, unpacked."""
    pa = arrow()
    with opened() as file:
        is_packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        stream = pa.PythonFile(file, mode="r")
        yield pa.CompressedInputStream(stream, "gzip") if is_packed else stream


def first_line(opened: Open, *, where: str) -> str:
    """The first line of a file, which goes on where one ends within quotes.

    Raises:
        InputError: It is not UTF-8, damaged, or endless.
    """
    with reading(where), reading_table(where), opened_text(opened) as stream:
        data: bytes = stream.read(64 * 1024)
        while (
            (line := _whole_line(data)) is None
            and len(data) < _LINE_BYTES
            and (more := stream.read(len(data)))
        ):
            data += more
    line = data.split(b"\n", 1)[0] if line is None else line
    if len(line) >= _LINE_BYTES:
        raise InputError(f"{where} begins with a line of over {_LINE_BYTES} bytes; it is no table")
    try:
        return line.decode("utf-8-sig").rstrip("\r")
    except UnicodeDecodeError as exc:
        raise InputError(f"{where} is not UTF-8 ({exc}); save it as UTF-8") from exc


def _whole_line(data: bytes) -> bytes | None:
    start = quote_count = 0
    while (end := data.find(b"\n", start)) >= 0:
        quote_count += data.count(b'"', start, end)
        if quote_count % 2 == 0:
            return data[:end]
        start = end + 1
    return None
