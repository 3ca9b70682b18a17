"""What a caller gives as blocks of items: one object, or an iterable of objects."""

import os
from collections.abc import Iterator, Mapping

from fornada.errors import UsageError
from fornada.formats.tables.binding import missing_column
from producer.inputs.data.arrays import ArrayReader
from producer.inputs.data.frames import frame_of, is_frame
from producer.inputs.data.item_ids import as_item_ids, with_item_ids, without_duplicates
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
) -> Iterator[Block]:
    """What a caller gives, as blocks whose rows are what the model takes.

    Nothing is read before the first block is taken.

    Args:
        inputs: As `Client.submit`.
        item_ids: One id an item, or `None`.
        signature: What the model takes.
        read_files: Reads local files.
        columns: Input -> the column of a data frame, or the key of a row, that it is, where these
            have other names.
        id_column: The column of a data frame that has the items' ids.

    Raises:
        InputError: `inputs` or an id does not fit.
        UsageError: `item_ids` or `columns` makes no sense, or ids came with inputs that have ids.
    """
    bound = checked_columns(columns, signature, are_files=are_files(inputs))
    if id_column is not None and not are_files(inputs):
        inputs, item_ids = _without_id_column(inputs, id_column, item_ids)
    if item_ids is not None:
        # The caller's ids go before the paths'.
        read_files = _without_ids(read_files)
    readers = [
        OneInput(
            arrays=ArrayReader(taken=tensor, model=signature.model),
            read_files=read_files,
            column=bound.get(tensor.name) if len(signature.inputs) == 1 else None,
        )
        for tensor in signature.inputs
    ]
    source: OneInput | SeveralInputs = readers[0]
    if len(readers) > 1:
        named = {tensor.name: bound.get(tensor.name, tensor.name) for tensor in signature.inputs}
        source = SeveralInputs(
            signature=signature, readers=readers, read_files=read_files, columns=named
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


def _without_id_column(
    inputs: object, id_column: str, item_ids: object
) -> tuple[object, list[object]]:
    frame = frame_of(inputs, where="inputs") if is_frame(inputs) else None
    if frame is None:
        raise UsageError("id_column is for tables and data frames; give item_ids")
    if item_ids is not None:
        raise UsageError("item_ids and id_column are given; give one of both")
    if id_column not in frame.columns:
        raise missing_column(id_column, frame.schema, where="inputs")
    return frame.drop(id_column).to_native(), frame.get_column(id_column).to_list()


def checked_columns(
    columns: Mapping[str, Columns] | None, signature: Signature, *, are_files: bool
) -> Mapping[str, str]:
    """`columns` as input -> column, less those of several columns, which tables in files have.

    Raises:
        UsageError: It is no such mapping, or names something that is no input.
    """
    if columns is None:
        return {}
    TableOptions(columns=columns).check()
    names = {tensor.name for tensor in signature.inputs}
    bound: dict[str, str] = {}
    for name, column in columns.items():
        if name not in names:
            raise UsageError(f"columns has {name!r}, and {signature.model} takes {signature.names}")
        listed = [column] if isinstance(column, str) else column
        if len(listed) > 1 and not are_files:
            raise UsageError(
                f"columns has several for {name!r}, which tables in files may have; give a "
                f"mapping, {{{name!r}: frame[{listed!r}]}}"
            )
        if len(listed) == 1:
            bound[name] = listed[0]
    return bound


def _without_ids(read_files: ReadFiles) -> ReadFiles:
    def read(files: LocalFiles, signature: Signature) -> Iterator[Block]:
        return map(bare, read_files(files, signature))

    return read
