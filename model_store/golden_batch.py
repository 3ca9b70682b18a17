"""The files of a golden batch: typical items, and what the model gave for them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fornada.errors import InputError
from fornada.formats.npy import from_npy, to_npy, write_npy
from fornada.formats.rows import Rows
from fornada.formats.tensor_file import Tensor, from_tensor_file, to_tensor_file


def golden_suffix(tensors: Sequence[Tensor]) -> str:
    """The suffix of a file of `to_golden`."""
    return "npy" if _is_plain(tensors) else "safetensors"


def to_golden(rows: Rows, tensors: Sequence[Tensor]) -> bytes:
    """The file of one side of a golden batch: `.npy` of numbers, else safetensors."""
    if _is_plain(tensors):
        return to_npy(rows.only)
    columns = {
        tensor.name: list(array) if None in tensor.shape else array
        for tensor, array in zip(tensors, rows.arrays, strict=True)
    }
    return to_tensor_file(columns, tensors)


def write_golden(path: Path, rows: Rows, tensors: Sequence[Tensor]) -> None:
    """Write the file of `to_golden`, of numbers without a copy in memory."""
    if not _is_plain(tensors):
        path.write_bytes(to_golden(rows, tensors))
        return
    with path.open("wb") as file:
        write_npy(file, rows.only)


def from_golden(data: bytes, tensors: Sequence[Tensor], *, where: str) -> Rows:
    """What a file of `to_golden` holds.

    Raises:
        InputError: It is no such file, or holds items of several shapes.
    """
    if _is_plain(tensors):
        return Rows(from_npy(data, where=where))
    columns = from_tensor_file(data, tensors, where=where).values()
    try:
        return Rows(*(np.stack(each) if isinstance(each, list) else each for each in columns))
    except ValueError as exc:
        raise InputError(f"{where} holds items of several shapes; publish the model again") from exc


def _is_plain(tensors: Sequence[Tensor]) -> bool:
    # Golden items are all of one shape, whether sides are open or not.
    return len(tensors) == 1 and tensors[0].dtype != "string"
