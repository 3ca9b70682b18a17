"""How many bytes items take, and what a model will give for them."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import bytes_with
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, OutputTensor
from producer.inputs.interface import ItemBlock, Signature


def least_open_bytes(tensors: Sequence[InputTensor | OutputTensor]) -> int:
    """Bytes of an item in the tensors whose shape is open, if each open side were 1."""
    return sum(bytes_with(t, ()) for t in tensors if t.is_open)


def row_bytes(rows: Rows) -> NDArray[np.int64]:
    """Bytes of each item, those of its texts too."""
    sizes = np.zeros(len(rows), np.int64)
    for array in rows.arrays:
        sizes += array[:1].nbytes
        if array.dtype.hasobject:
            lengths = np.fromiter(map(len, array.ravel().tolist()), np.int64, array.size)
            sizes += lengths.reshape(len(rows), math.prod(array.shape[1:])).sum(axis=1)
    return sizes


def output_bytes(block: ItemBlock, signature: Signature) -> int:
    """Bytes of what the model gives for an item; open sides are taken to be those of its inputs."""
    sides: tuple[int, ...] = ()
    for tensor, shape in zip(signature.inputs, block.rows.shapes, strict=True):
        if tensor.is_open and not sides and tensor.name not in block.files:
            sides = tuple(
                side for side, want in zip(shape, tensor.shape, strict=True) if want is None
            )
    return sum(bytes_with(tensor, sides) for tensor in signature.outputs)
