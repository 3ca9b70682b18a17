"""What a caller gives as blocks of items: one object, or an iterable of objects."""

from collections.abc import Iterator, Mapping

from fornada.errors import UsageError
from producer.inputs.data.arrays import ArrayReader
from producer.inputs.data.item_ids import as_item_ids, with_item_ids, without_duplicates
from producer.inputs.data.one_input import OneInput, ReadFiles, bare
from producer.inputs.data.several_inputs import SeveralInputs
from producer.inputs.interface import Block, LocalFiles, Signature


def blocks_of(
    inputs: object,
    item_ids: object,
    *,
    signature: Signature,
    read_files: ReadFiles,
    columns: Mapping[str, str] | None = None,
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

    Raises:
        InputError: `inputs` or an id does not fit.
        UsageError: `item_ids` or `columns` makes no sense, or ids came with inputs that have ids.
    """
    bound = checked_columns(columns, signature)
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


def checked_columns(columns: object, signature: Signature) -> Mapping[str, str]:
    """`columns` as input -> column.

    Raises:
        UsageError: It is no such mapping, or names something that is no input.
    """
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise UsageError(
            f"columns is {columns!r}; give the column of each input, {{input: column}}"
        )
    names = {tensor.name for tensor in signature.inputs}
    for name, column in columns.items():
        if name not in names:
            raise UsageError(f"columns has {name!r}, and {signature.model} takes {signature.names}")
        if not isinstance(column, str):
            raise UsageError(f"columns has {name!r}: {column!r}; give the name of a column")
    return columns


def _without_ids(read_files: ReadFiles) -> ReadFiles:
    def read(files: LocalFiles, signature: Signature) -> Iterator[Block]:
        return map(bare, read_files(files, signature))

    return read
