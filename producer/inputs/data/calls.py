"""The items of a call of `predict`, image files decoded."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fornada.calls.frames import MAX_CALL_BYTES
from fornada.errors import CallTooLargeError, InputError, MissingExtraError
from fornada.formats.images import check_image_input, decode_item
from fornada.formats.rows import Rows
from fornada.formats.tensor_file import Column
from producer.inputs.data.streams import are_files, blocks_of
from producer.inputs.interface import Block, ImageFile, Signature
from producer.inputs.local_files import read_blocks
from producer.inputs.tables.interface import NO_TABLE_OPTIONS, Columns, TableOptions

#: Holds the memory to decode an image file during a block.
MemoryFor = Callable[[bytes], AbstractContextManager[object]]

#: Of an image file, which is decoded before it is known how small it becomes.
_MAX_FILE_BYTES = 64 * 1024 * 1024


class CallItems(NamedTuple):
    """The items of a call."""

    #: A column for each input, of the items that are sent; empty if none is.
    columns: list[Column]
    #: The numbers of these items among all.
    numbers: NDArray[np.int64]
    item_count: int
    #: Number of an item that cannot be predicted -> why; if it is sent, it holds anything.
    errors: Mapping[int, str]
    #: The caller's id of each item; `None` for their numbers.
    item_ids: list[str] | None


def is_at_hand(inputs: object) -> bool:
    """Whether items are read at once: arrays that fit into a call, and nothing to decode."""
    if isinstance(inputs, Mapping):
        return all(map(_is_small_array, inputs.values()))
    return _is_small_array(inputs)


def _is_small_array(value: object) -> bool:
    return (
        isinstance(value, np.ndarray)
        and not value.dtype.hasobject
        and value.nbytes <= MAX_CALL_BYTES
    )


def call_items(
    inputs: object,
    signature: Signature,
    *,
    columns: Mapping[str, Columns] | None = None,
    memory_for: MemoryFor = nullcontext,
) -> CallItems:
    """What a caller gives to `predict`; no more is read than fits into a call.

    Args:
        inputs: As `Client.predict`.
        signature: What the model takes.
        columns: As `Client.predict`.
        memory_for: Waits for the memory to decode an image file, and holds it.

    Raises:
        InputError: It does not fit the model.
        UsageError: There are too many items, or `columns` makes no sense.
    """
    whole = _whole_items(inputs, signature)
    if whole is not None and columns is None:
        return whole
    table = TableOptions(columns=columns) if are_files(inputs) else NO_TABLE_OPTIONS
    read = partial(read_blocks, max_file_bytes=_MAX_FILE_BYTES, strict=False, table=table)
    parts: list[Rows] = []
    numbers: list[NDArray[np.int64]] = []
    errors: dict[int, str] = {}
    item_ids: list[str] = []
    item_count = size_bytes = 0
    for block in blocks_of(inputs, None, signature=signature, read_files=read, columns=columns):
        rows, found = _rows_of(block, signature, memory_for)
        errors |= {item_count + number: why for number, why in found.items()}
        if rows is not None:
            parts.append(rows)
            numbers.append(np.arange(item_count, item_count + len(rows)))
        block_count = 1 if rows is None else len(rows)
        item_ids += _ids_of(block) or [str(item_count + row) for row in range(block_count)]
        item_count += block_count
        size_bytes += 1 if rows is None else max(1, rows.size_bytes)
        if size_bytes > MAX_CALL_BYTES:
            raise CallTooLargeError(
                f"inputs have {size_bytes} bytes of items or more, and a call takes "
                f"{MAX_CALL_BYTES}; submit them as a job"
            )
    if not item_count:
        raise InputError("there are no items; give at least one")
    return CallItems(
        columns=_columns(parts, signature) if parts else [],
        numbers=np.concatenate([np.empty(0, np.int64), *numbers]),
        item_count=item_count,
        errors=errors,
        item_ids=item_ids,
    )


def _ids_of(block: Block) -> list[str] | None:
    if isinstance(block, ImageFile):
        return None if block.item_id is None else [block.item_id]
    return block.item_ids


def _whole_items(inputs: object, signature: Signature) -> CallItems | None:
    """The items of arrays that are exactly what the model takes; `None` of anything else."""
    takes = signature.inputs
    if isinstance(inputs, dict):
        given = [inputs.get(tensor.name) for tensor in takes]
        if len(inputs) != len(takes):
            return None
    else:
        given = [inputs] if len(takes) == 1 else []
    arrays = [array for array in given if type(array) is np.ndarray]
    if len(arrays) != len(takes):
        return None
    item_count = len(arrays[0]) if arrays[0].ndim else 0
    fit = all(
        array.dtype == tensor.numpy_dtype
        and not array.dtype.hasobject
        and array.shape == (item_count, *tensor.shape)
        for array, tensor in zip(arrays, takes, strict=True)
    )
    if not fit or not item_count or sum(array.nbytes for array in arrays) > MAX_CALL_BYTES:
        return None
    return CallItems(
        columns=list(arrays),
        numbers=np.arange(item_count),
        item_count=item_count,
        errors={},
        item_ids=None,
    )


def _columns(parts: list[Rows], signature: Signature) -> list[Column]:
    """The rows of all parts; one array an input if all items have the same shapes."""
    if len({part.shapes for part in parts}) == 1:
        return list(Rows.joined(parts).arrays)
    columns: list[Column] = []
    for at, tensor in enumerate(signature.inputs):
        arrays = [part.arrays[at] for part in parts]
        if tensor.is_open:
            columns.append([item for array in arrays for item in array])
        else:
            columns.append(np.concatenate(arrays))
    return columns


def _rows_of(
    block: Block, signature: Signature, memory_for: MemoryFor
) -> tuple[Rows | None, Mapping[int, str]]:
    """The rows of a block; none of a file that cannot be decoded, and why."""
    if not isinstance(block, ImageFile):
        return block.rows, block.errors
    (taken,) = signature.inputs
    check_image_input(taken, where=block.name)
    why = block.error
    if why is None:
        try:
            with memory_for(block.data):
                item = decode_item(block.data, taken=taken, where=block.name)
        except (InputError, MissingExtraError) as exc:
            why = str(exc)
        else:
            return Rows(item[np.newaxis]), {}
    return None, {0: why}
