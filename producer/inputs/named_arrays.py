"""Items in the arrays of a file: one array after the other, or one an input, by its name."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from fornada.errors import InputError
from fornada.formats.rows import Rows
from fornada.formats.tensor_file import Column, from_tensor_file
from fornada.tensors import InputTensor
from producer.inputs.array_files import FileArray, file_arrays, reading
from producer.inputs.data.zipping import InputItems, zipped
from producer.inputs.interface import ItemBlock, Signature
from producer.inputs.tensor_arrays import tensor_arrays

_BLOCK_BYTES = 16 * 1024 * 1024
#: Files of texts and of varying shapes are read as a whole.
_MAX_WHOLE_BYTES = 1024**3


def arrays_in(path: Path, kind: str, signature: Signature, *, where: str) -> list[FileArray]:
    """The arrays in a file, of which only headers are read: one an input where names tell.

    Raises:
        InputError: It holds no plain array, or its size is not what the header claims; or its
            arrays are not those of the inputs.
        LocalDiskError: The disk failed.
    """
    if kind != "safetensors":
        arrays = file_arrays(path, kind, where=where)
    else:
        with reading(where):
            arrays = list(tensor_arrays(path, where))
    _check_names(arrays, kind, signature, where=where)
    return arrays


def _check_names(
    arrays: Sequence[FileArray], kind: str, signature: Signature, *, where: str
) -> None:
    inputs = signature.inputs
    if len(inputs) > 1 and kind not in {"npz", "safetensors"}:
        signature.only_input(
            where=f"{where} holds one array",
            remedy="give an .npz or .safetensors file with the inputs' names",
        )
    has_one = len(inputs) == 1 and (kind != "safetensors" or len(arrays) == 1)
    if has_one:
        return
    names = {array.member for array in arrays}
    wanted = [name for tensor in inputs for name in _stored_names(tensor, names)]
    missing = [name for name in wanted if name not in names]
    others = sorted(str(name)[:80] for name in names if name not in wanted)
    if missing or others:
        lacks = f"lacks {', '.join(map(repr, missing))}" if missing else ""
        has = f"has {', '.join(map(repr, others[:10]))}, which is none of them" if others else ""
        raise InputError(
            f"{where} {' and '.join(filter(None, [lacks, has]))}; {signature.model} takes "
            f"{signature.names}: give arrays of these names, and no other"
        )


def _stored_names(tensor: InputTensor, names: set[str | None]) -> list[str]:
    """The arrays that hold an input: one, or those of `fornada.formats.tensor_file`."""
    parts = [f"{tensor.name}.{part}" for part in ("values", "offsets", "shapes")]
    if tensor.name in names or parts[0] not in names:
        return [tensor.name]
    return parts if parts[2] in names else parts[:2]


def array_blocks(array: FileArray, taken: InputTensor) -> Iterator[ItemBlock]:
    """The rows of one array in a file.

    Raises:
        InputError: They do not fit the input, or the file is damaged.
        LocalDiskError: The disk failed.
    """
    for rows in array.blocks(item_shape=taken.shape, max_block_bytes=_BLOCK_BYTES):
        yield ItemBlock(rows=Rows(rows), item_ids=None, where=array.header.where)


def named_blocks(
    arrays: Sequence[FileArray], signature: Signature, path: Path, where: str
) -> Iterator[ItemBlock]:
    """The items in a file that has an array for each input, as `arrays_in` checked.

    Raises:
        InputError: The inputs do not fit, or have different numbers of items.
        LocalDiskError: The disk failed.
    """
    inputs, by_name = signature.inputs, {array.member: array for array in arrays}
    if all(tensor.name in by_name for tensor in inputs):
        blocks = [array_blocks(by_name[tensor.name], tensor) for tensor in inputs]
    elif len(arrays) == 1:
        blocks = [array_blocks(arrays[0], inputs[0])]
    else:
        columns = _read_whole(path, signature, where=where)
        blocks = [_column_blocks(columns[tensor.name], where=where) for tensor in inputs]
    if len(inputs) == 1:
        yield from blocks[0]
        return
    items = [InputItems(tensor, each) for tensor, each in zip(inputs, blocks, strict=True)]
    yield from zipped(items, where=where)


def _read_whole(path: Path, signature: Signature, *, where: str) -> dict[str, Column]:
    size_bytes = path.stat().st_size
    if size_bytes > _MAX_WHOLE_BYTES:
        raise InputError(
            f"{where} has {size_bytes} bytes, and one with texts or varying shapes is read as a "
            f"whole, up to {_MAX_WHOLE_BYTES}; write several files"
        )
    with reading(where):
        data = path.read_bytes()
    return from_tensor_file(data, signature.inputs, where=where)


def _column_blocks(column: Column, *, where: str) -> Iterator[ItemBlock]:
    if not isinstance(column, list):
        yield ItemBlock(rows=Rows(column), item_ids=None, where=where)
        return
    for _, run in groupby(column, key=lambda item: item.shape):
        yield ItemBlock(rows=Rows(np.stack(list(run))), item_ids=None, where=where)
