"""Arrays in safetensors files: the header checked first, rows read a block at a time."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fornada.errors import InputError
from producer.inputs.array_files import FileArray
from producer.inputs.array_header import ArrayHeader

_LENGTH_BYTES = 8
#: A longer header names hundreds of thousands of tensors.
_MAX_HEADER_BYTES = 16 * 1024 * 1024
_METADATA = "__metadata__"
_DTYPES = {
    "BOOL": "bool",
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
}


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    dtype: str
    shape: list[int] = Field(max_length=32)
    data_offsets: list[int] = Field(min_length=2, max_length=2)


_ENTRIES = TypeAdapter(dict[str, _Entry | dict[str, str]])


def is_tensor_file(head: bytes) -> bool:
    """Whether a file that begins so is a safetensors file."""
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    return head[_LENGTH_BYTES:][:1] == b"{" and 1 < length <= _MAX_HEADER_BYTES


def tensor_arrays(path: Path, where: str) -> Iterator[FileArray]:
    """The arrays in a file, by name; only the header is read.

    Raises:
        InputError: It is no such file, or holds a dtype that NumPy lacks.
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        data = stream.read(min(length, _MAX_HEADER_BYTES))
    first_byte = _LENGTH_BYTES + length
    try:
        entries = _ENTRIES.validate_json(data)
    except ValidationError as exc:
        raise InputError(
            f"{where} is not a readable safetensors file (its header of {length} bytes is "
            "damaged); write it again"
        ) from exc
    data_bytes = path.stat().st_size - first_byte
    for name, entry in entries.items():
        if isinstance(entry, _Entry):
            yield _array(path, name, entry, first_byte, data_bytes, where=where)
        elif name != _METADATA:
            raise InputError(f"{where}: {name[:80]!r} is no tensor; write the file again")


def _array(
    path: Path, name: str, entry: _Entry, first_byte: int, data_bytes: int, *, where: str
) -> FileArray:
    begin, end = entry.data_offsets
    here = f"{where}:{name[:80]}"
    if not 0 <= begin <= end <= data_bytes or min(entry.shape, default=0) < 0:
        raise InputError(
            f"{here} claims bytes {begin} to {end} of {data_bytes}; the file is truncated or "
            "damaged, write it again"
        )
    if entry.dtype not in _DTYPES:
        raise InputError(f"{here} is {entry.dtype[:20]}, which NumPy lacks; write it as float32")
    header = ArrayHeader(
        where=here,
        shape=tuple(entry.shape),
        dtype=np.dtype(_DTYPES[entry.dtype]).newbyteorder("<"),
        header_bytes=0,
    )
    header.check_size(end - begin)
    opened = partial(_open_part, path, first_byte + begin, end - begin)
    return FileArray(header=header, member=name, open=opened)


@contextmanager
def _open_part(path: Path, first_byte: int, size_bytes: int) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        file.seek(first_byte)
        yield io.BufferedReader(_Part(file, size_bytes))


class _Part(io.RawIOBase):
    """The next bytes of a file, as a stream of their own."""

    def __init__(self, file: IO[bytes], size_bytes: int) -> None:
        super().__init__()
        self._file = file
        self._left_bytes = size_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), self._left_bytes))
        buffer[: len(data)] = data
        self._left_bytes -= len(data)
        return len(data)
