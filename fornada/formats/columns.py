"""What a shard gives as one file: `.npy` for one array of numbers, else safetensors."""

from collections.abc import Sequence

import numpy as np

from fornada.errors import InputError
from fornada.formats.npy import from_npy, to_npy
from fornada.formats.tensor_file import (
    Column,
    Tensor,
    from_tensor_file,
    needs_tensor_file,
    to_tensor_file,
)
from fornada.tensors import array_dtype, text_of


def to_columns_file(columns: Sequence[Column], tensors: Sequence[Tensor]) -> tuple[bytes, str]:
    """The bytes of a file of `columns`, one for each tensor, and its suffix."""
    if needs_tensor_file(tensors):
        named = dict(zip((tensor.name for tensor in tensors), columns, strict=True))
        return to_tensor_file(named, tensors), "safetensors"
    return to_npy(np.asarray(columns[0])), "npy"


def from_columns_file(
    data: bytes, tensors: Sequence[Tensor], *, item_count: int, where: str
) -> list[Column]:
    """The columns in a file from `to_columns_file`, read-only.

    Raises:
        InputError: It is no such file, or holds other items.
    """
    if needs_tensor_file(tensors):
        columns = from_tensor_file(data, tensors, item_count=item_count, where=where)
        return [columns[tensor.name] for tensor in tensors]
    array, (tensor,) = from_npy(data, where=where), tensors
    want = [item_count, *tensor.shape]
    if list(array.shape) != want or array.dtype != np.dtype(array_dtype(tensor.dtype)):
        raise InputError(
            f"{where} is {array.dtype} {text_of(list(array.shape))}, and {tensor.name!r} is "
            f"{tensor.dtype} {text_of(want)}"
        )
    return [array]


def joined_columns(parts: Sequence[Sequence[Column]]) -> list[Column]:
    """The columns of all parts, one after the other."""
    return [_joined(column) for column in zip(*parts, strict=True)]


def _joined(parts: Sequence[Column]) -> Column:
    arrays = [part for part in parts if not isinstance(part, list)]
    if len(arrays) == len(parts):
        return np.concatenate(arrays)
    return [item for part in parts for item in part]
