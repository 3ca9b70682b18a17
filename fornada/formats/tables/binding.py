"""Which columns of a table are which inputs of a model, and whether their types fit."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from fornada.errors import InputError
from fornada.formats.tables.arrow import arrow
from fornada.records import Record
from fornada.tensors import InputTensor, TensorName

#: The most columns of an input: the pixels of an image of 256 x 256.
MAX_COLUMNS = 65_536

ColumnKind = Literal["number", "text", "bytes", "list", "other"]


class TableBinding(Record):
    """Which columns of a table are which inputs of a model."""

    #: An input's name -> its column; or several, whose values side by side are the item.
    columns: dict[TensorName, Annotated[list[str], Field(min_length=1, max_length=MAX_COLUMNS)]]
    #: The column with the items' ids; absent if items are numbered.
    id_column: str | None = None

    @property
    def names(self) -> list[str]:
        """All columns that the inputs need, each once."""
        return list(dict.fromkeys(name for names in self.columns.values() for name in names))


def types_by_name(schema: Any, *, where: str) -> dict[str, Any]:
    """Name of each column of an Arrow schema -> its type, in order.

    Raises:
        InputError: Two columns have one name.
    """
    names = schema.names
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{where} has several columns {twice[:60]!r}; give each a name of its own")
    return dict(zip(names, schema.types, strict=True))


def kind_of(column_type: Any) -> ColumnKind:
    """What a column of an Arrow type holds."""
    types = arrow("types")
    of = storage_type(column_type)
    if types.is_dictionary(of):
        return kind_of(of.value_type)
    if (
        types.is_boolean(of)
        or types.is_integer(of)
        or types.is_floating(of)
        or types.is_decimal(of)
    ):
        return "number"
    if types.is_string(of) or types.is_large_string(of) or types.is_string_view(of):
        return "text"
    if types.is_binary(of) or types.is_large_binary(of) or types.is_binary_view(of):
        return "bytes"
    return "list" if is_list(of) else "other"


def storage_type(column_type: Any) -> Any:
    """The type of a column's values; of an extension, such as tensors, what it is stored as."""
    return getattr(column_type, "storage_type", column_type)


def is_list(column_type: Any) -> bool:
    """Whether each cell of such a column is a list."""
    types = arrow("types")
    return bool(
        types.is_list(column_type)
        or types.is_large_list(column_type)
        or types.is_fixed_size_list(column_type)
    )


def width_of(tensor: InputTensor) -> int | None:
    """Values of an item; `None` if that varies."""
    return None if tensor.is_open else math.prod(tensor.fixed_shape)


def check_types(
    column_types: Mapping[str, Any],
    binding: TableBinding,
    takes: Sequence[InputTensor],
    *,
    model: str,
    where: str,
    parsed: Collection[str] = (),
    takes_paths: bool = False,
) -> None:
    """Check that a table has the columns of `binding`, and that the inputs take what they hold.

    Args:
        column_types: Name of a column of the table -> its Arrow type.
        binding: The columns.
        takes: The model's inputs.
        model: For error messages.
        where: For error messages.
        parsed: Columns of text from which numbers are read.
        takes_paths: Whether text may name the files of an input of images.

    Raises:
        InputError: One is missing or of another type.
    """
    wanted = [*binding.names, *([binding.id_column] if binding.id_column is not None else [])]
    for name in wanted:
        if name not in column_types:
            raise missing_column(name, column_types, where=where)
    files = {"bytes", "text"} if takes_paths else {"bytes"}
    for tensor in takes:
        names = binding.columns[tensor.name]
        width = width_of(tensor)
        if len(names) > 1 and len(names) != width:
            raise InputError(
                f"{where}: {len(names)} columns are given for {tensor.name!r}, and {model} takes "
                f"{tensor}: {'one column of lists' if width is None else width}"
            )
        for name in names:
            of, is_single = column_types[name], len(names) == 1
            is_file = is_single and tensor.image is not None and kind_of(of) in files
            if not is_file and not _fits(of, tensor, is_single, name in parsed):
                is_text = kind_of(of) == "text" and tensor.dtype != "string"
                remedy = "write numbers as 1234.5" if is_text else "convert the column"
                raise InputError(
                    f"{where}: column {name!r} holds {str(of)[:80]}, and {model} "
                    f"takes {tensor} for {tensor.name!r}; {remedy}, or bind another"
                )
    if binding.id_column is not None:
        _check_ids(column_types[binding.id_column], binding.id_column, where=where)


def missing_column(name: str, columns: Mapping[str, object], *, where: str) -> InputError:
    """The error for a column that a table lacks."""
    have = ", ".join(repr(each)[:60] for each in list(columns)[:20])
    more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""  # noqa: PLR2004 - a line
    return InputError(f"{where} has no column {name[:60]!r}; it has {have}{more}")


def _fits(column_type: Any, tensor: InputTensor, is_single: bool, is_parsed: bool) -> bool:  # noqa: FBT001 - private
    kind = kind_of(column_type)
    if kind == "list" and is_single:
        return _leaf_fits(_leaf(storage_type(column_type)), tensor)
    has_one = not is_single or width_of(tensor) == 1
    return has_one and (_leaf_fits(column_type, tensor) or (is_parsed and kind == "text"))


def _leaf(column_type: Any) -> Any:
    while is_list(column_type):
        column_type = storage_type(column_type.value_type)
    return column_type


def _leaf_fits(leaf: Any, tensor: InputTensor) -> bool:
    kind, of = kind_of(leaf), storage_type(leaf)
    if arrow("types").is_null(of):
        # A column without any value: each of its rows fails, or is filled.
        return True
    if tensor.dtype == "string":
        return kind == "text"
    # Whether numbers with fractions are whole, and small enough, shows row by row.
    return kind == "number"


def _check_ids(column_type: Any, name: str, *, where: str) -> None:
    types = arrow("types")
    of = storage_type(column_type)
    of = of.value_type if types.is_dictionary(of) else of
    is_number = types.is_integer(of) or types.is_decimal(of)
    if not (is_number or kind_of(of) == "text" or types.is_temporal(of)):
        raise InputError(
            f"{where}: column {name!r} holds {str(column_type)[:80]}, which is no id; name one of "
            "text or whole numbers"
        )
