"""What a caller gives as blocks of items: one object, or an iterable of objects."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fornada.errors import InputError, UsageError
from fornada.formats.tables.binding import missing_column, width_of
from producer.inputs.data.arrays import ArrayReader
from producer.inputs.data.conversion import (
    is_array_like,
    is_numbers,
    is_scalar,
    is_texts,
    type_name,
)
from producer.inputs.data.frames import frame_of, is_frame
from producer.inputs.data.item_ids import as_item_ids, with_item_ids, without_duplicates
from producer.inputs.data.iterating import elements_of
from producer.inputs.data.one_input import OneInput, ReadFiles, bare
from producer.inputs.data.several_inputs import SeveralInputs
from producer.inputs.interface import Block, LocalFiles, Signature, StoredImages
from producer.inputs.tables.interface import Columns, TableOptions


def blocks_of(
    inputs: object,
    item_ids: object,
    *,
    signature: Signature,
    read_files: ReadFiles,
    columns: Mapping[str, Columns] | None = None,
    id_column: str | None = None,
    keeps_files: bool = False,
) -> Iterator[Block]:
    """What a caller gives, as blocks whose rows are what the model takes.

    Nothing is read before the first block is taken.

    Args:
        inputs: As `Client.submit`.
        item_ids: One id an item, or `None`.
        signature: What the model takes.
        read_files: Reads local files.
        columns: Input -> the column of a data frame, or the key of a row, that it is, where these
            have other names; or several, whose values side by side are the item.
        id_column: The column of a data frame, or the key of a row, that has the items' ids.
        keeps_files: Whether image files among several inputs stay as they are, for workers to
            decode.

    Raises:
        InputError: `inputs` or an id does not fit.
        UsageError: `item_ids` or `columns` makes no sense, or ids came with inputs that have ids.
    """
    bound = checked_columns(columns, signature)
    if id_column is not None and not are_files(inputs):
        inputs, item_ids = _without_id_column(inputs, id_column, item_ids)
    if item_ids is not None:
        # The caller's ids go before the paths'.
        read_files = _without_ids(read_files)
    readers = [
        OneInput(
            arrays=ArrayReader(taken=tensor, model=signature.model),
            read_files=read_files,
            columns=bound.get(tensor.name) if len(signature.inputs) == 1 else None,
        )
        for tensor in signature.inputs
    ]
    source: OneInput | SeveralInputs = readers[0]
    if len(readers) > 1:
        source = SeveralInputs(
            signature=signature,
            readers=readers,
            read_files=read_files,
            columns=bound,
            keeps_files=keeps_files,
        )
    blocks = source.blocks(inputs, where="inputs")
    if item_ids is not None:
        blocks = with_item_ids(blocks, as_item_ids(item_ids, where="item_ids"), where="inputs")
    return without_duplicates(blocks)


def are_files(inputs: object) -> bool:
    """Whether `inputs` are paths, whose tables have columns of their own."""
    if isinstance(inputs, list | tuple) and inputs:
        return isinstance(inputs[0], os.PathLike)
    return isinstance(inputs, LocalFiles | StoredImages | os.PathLike)


def _without_id_column(inputs: object, id_column: str, item_ids: object) -> tuple[object, object]:
    """What is given without its ids, and these; a stream with them in each element."""
    if item_ids is not None:
        raise UsageError("item_ids and id_column are given; give one of both")
    if isinstance(inputs, Mapping) or is_frame(inputs):
        return _divided(inputs, id_column, where="inputs")
    if is_array_like(inputs) or is_numbers(inputs) or is_texts(inputs) or isinstance(inputs, bytes):
        raise UsageError("id_column is for tables, data frames and rows; give item_ids")
    return _identified(inputs, id_column), None


def _identified(inputs: object, id_column: str) -> Iterator[tuple[list[str], object]]:
    for number, element in enumerate(elements_of(inputs, where="inputs")):
        where = f"inputs[{number}]"
        rest, ids = _divided(element, id_column, where=where)
        listed = [ids] if is_scalar(ids) else ids
        yield as_item_ids(listed, where=f"{where}[{id_column!r}]"), rest


def _divided(given: Any, id_column: str, *, where: str) -> tuple[object, object]:
    """A data frame, or a mapping, without the ids that it has; and these."""
    frame = frame_of(given, where=where) if is_frame(given) else None
    if frame is not None and id_column in frame.columns:
        return frame.drop(id_column).to_native(), frame.get_column(id_column).to_list()
    if frame is not None:
        raise missing_column(id_column, frame.schema, where=where)
    if not isinstance(given, Mapping):
        raise UsageError(
            f"{where} is {type_name(given)}, and id_column is for tables, data frames and rows; "
            "give item_ids"
        )
    if id_column not in given:
        raise missing_column(id_column, given, where=where)
    return {key: value for key, value in given.items() if key != id_column}, given[id_column]


def checked_columns(
    columns: Mapping[str, Columns] | None, signature: Signature
) -> Mapping[str, Sequence[str]]:
    """`columns` as input -> columns.

    Raises:
        UsageError: It is no such mapping, or names something that is no input.
        InputError: Several are given, and the input has another number of values.
    """
    if columns is None:
        return {}
    TableOptions(columns=columns).check()
    widths = {tensor.name: width_of(tensor) for tensor in signature.inputs}
    bound: dict[str, Sequence[str]] = {}
    for name, column in columns.items():
        if name not in widths:
            raise UsageError(f"columns has {name!r}, and {signature.model} takes {signature.names}")
        bound[name] = [column] if isinstance(column, str) else list(column)
        if len(bound[name]) > 1 and len(bound[name]) != widths[name]:
            takes = next(tensor for tensor in signature.inputs if tensor.name == name)
            raise InputError(
                f"columns has {len(bound[name])} for {name!r}, and {signature.model} takes "
                f"{takes}; give as many as it has values, or one of lists"
            )
    return bound


def _without_ids(read_files: ReadFiles) -> ReadFiles:
    def read(files: LocalFiles, signature: Signature) -> Iterator[Block]:
        return map(bare, read_files(files, signature))

    return read
