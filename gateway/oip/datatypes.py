"""The protocol's datatypes, and the values of a tensor as bytes or as JSON."""

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.formats.items import Array
from fornada.formats.nesting import holds_texts
from fornada.tensors import Dtype

#: Names of the protocol -> those of tensors.
_DTYPES: dict[str, Dtype] = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "BF16": "bfloat16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "string",
}
_DATATYPES = {dtype: name for name, dtype in _DTYPES.items()}
_LENGTH = struct.Struct("<I")


def datatype_of(dtype: Dtype) -> str:
    """The protocol's name of a dtype."""
    return _DATATYPES[dtype]


def check_datatype(name: str, *, where: str) -> None:
    """Check that the protocol has a datatype.

    Raises:
        InputError: It has none of that name.
    """
    if name not in _DTYPES:
        raise InputError(f"{where} is of datatype {name[:40]!r}; give one of {', '.join(_DTYPES)}")


def from_binary(data: memoryview, datatype: str, shape: Sequence[int], *, where: str) -> Array:
    """A tensor's values from the bytes of the binary extension; `bytes` objects for BYTES.

    Args:
        data: Little-endian, in C order; before each element of BYTES its length in 4 bytes.
        datatype: One that the protocol has.
        shape: What the tensor declares.
        where: For error messages.

    Raises:
        InputError: The bytes are not as many as the shape takes.
    """
    count = math.prod(shape)
    if datatype == "BYTES":
        return _elements(data, count, where=where).reshape(shape)
    stored = _wire_dtype(datatype)
    if count * stored.itemsize != len(data):
        raise InputError(
            f"{where} declares {datatype} {list(shape)}, {count * stored.itemsize} bytes, and has "
            f"{len(data)}; send as many as it declares"
        )
    array = np.frombuffer(data, stored).reshape(shape)
    return _widened(array) if datatype == "BF16" else array


def _wire_dtype(datatype: str) -> np.dtype[Any]:
    dtype = np.dtype("uint16" if datatype == "BF16" else _DTYPES[datatype])
    return dtype.newbyteorder("<")


def _widened(bits: Array) -> NDArray[np.float32]:
    """Numbers of bfloat16, given as their bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _elements(data: memoryview, count: int, *, where: str) -> NDArray[np.object_]:
    # Each takes 4 bytes at least, so no claim of a count takes memory.
    found = [] if count * _LENGTH.size > len(data) else list(_cut(data))
    if len(found) != count or sum(map(len, found)) + count * _LENGTH.size != len(data):
        raise InputError(
            f"{where} declares {count} elements of BYTES, and its {len(data)} bytes hold others; "
            "write the length of each in 4 bytes before it, little-endian"
        )
    cells = np.empty(count, object)
    cells[:] = found
    return cells


def _cut(data: memoryview) -> Iterator[bytes]:
    at = 0
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        yield bytes(data[at - length : at])


def from_json(values: list[Any], datatype: str, shape: Sequence[int], *, where: str) -> Array:
    """A tensor's values from JSON, flat or nested; `bytes` objects for BYTES.

    Raises:
        InputError: They are of another datatype, or not as many as the shape takes.
    """
    try:
        array = np.asarray(values, object if holds_texts(values) else None)
    except (ValueError, OverflowError):
        array = np.empty(0)
    if array.size != math.prod(shape) or not array.size:
        raise InputError(
            f"{where} declares {list(shape)}, {math.prod(shape)} values, and its data are others; "
            "give them flat or nested, in C order"
        )
    if datatype == "BYTES":
        if not all(isinstance(value, str) for value in array.flat):
            raise InputError(f"{where} is of datatype BYTES, and its data are not texts")
        cells = np.empty(array.size, object)
        cells[:] = [str(value).encode(errors="surrogatepass") for value in array.flat]
        return cells.reshape(shape)
    if array.dtype.kind not in "buif":
        raise InputError(f"{where} is of datatype {datatype}, and its data are not all numbers")
    return array.reshape(shape)


def to_binary(array: Array, datatype: str) -> bytes:
    """A tensor's values as the bytes of the binary extension."""
    if datatype == "BYTES":
        return b"".join(_LENGTH.pack(len(each)) + each for each in array.ravel().tolist())
    return np.ascontiguousarray(array, _wire_dtype(datatype)).tobytes()
