"""Bind the columns of a table to a model's inputs: as the caller says, else by name."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fornada.errors import InputError, UsageError
from fornada.formats.tables.binding import (
    TableBinding,
    check_types,
    kind_of,
    missing_column,
    width_of,
)
from fornada.tensors import InputTensor
from producer.inputs.tables.interface import Columns, TableOptions


def bound(
    column_types: Mapping[str, Any],
    options: TableOptions,
    takes: Sequence[InputTensor],
    *,
    model: str,
    where: str,
    parsed: Collection[str] = (),
    takes_paths: bool = False,
) -> TableBinding:
    """Which columns are which inputs.

    An input takes the columns that `options` give it, else the column of its name. A single input
    that is left takes the only other column; or all other columns of numbers, in the table's
    order, if there are as many as it has numbers.

    Args:
        column_types: Name of a column -> its Arrow type.
        options: What the caller says.
        takes: The model's inputs.
        model: For error messages.
        where: For error messages.
        parsed: Columns of text from which numbers are read.
        takes_paths: Whether text may name the files of an input of images.

    Raises:
        InputError: A column is missing or of another type, or an input is left without one.
        UsageError: A column is given for an input that the model lacks.
    """
    given = {name: _listed(columns) for name, columns in (options.columns or {}).items()}
    inputs = {tensor.name: tensor for tensor in takes}
    for name in given:
        if name not in inputs:
            near = difflib.get_close_matches(name, inputs, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(
                f"columns are given for {name!r}, and {model} takes {_names(inputs)}{hint}"
            )
    columns = given | {
        name: [name] for name in inputs if name not in given and name in column_types
    }
    left = [tensor for tensor in takes if tensor.name not in columns]
    if left:
        taken = {each for names in columns.values() for each in names} | {options.id_column}
        others = {name: of for name, of in column_types.items() if name not in taken}
        if len(left) > 1:
            raise missing_column(left[0].name, column_types, where=where)
        columns[left[0].name] = _others(others, left[0], model=model, where=where, parsed=parsed)
    binding = TableBinding(columns=columns, id_column=options.id_column)
    check_types(
        column_types,
        binding,
        takes,
        model=model,
        where=where,
        parsed=parsed,
        takes_paths=takes_paths,
    )
    return binding


def _others(
    others: Mapping[str, Any],
    tensor: InputTensor,
    *,
    model: str,
    where: str,
    parsed: Collection[str],
) -> list[str]:
    """The columns of the only input that has none by its name."""
    if len(others) == 1:
        return list(others)
    wants = "text" if tensor.dtype == "string" else "number"
    fitting = [
        name
        for name, of in others.items()
        if wants == ("number" if name in parsed else kind_of(of))
    ]
    width = width_of(tensor)
    if fitting and len(fitting) == width:
        return fitting
    listed = f" ({_names(fitting)})" if fitting else ""
    raise InputError(
        f"{where} has no column {tensor.name!r}, and {len(fitting)} of its other columns hold "
        f"{wants if wants == 'text' else 'numbers'}{listed}, where {model} takes {tensor}; name "
        f"them in columns ({tensor.name}=A,B,…), and the column of the ids in id_column"
    )


def _listed(columns: Columns) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _names(names: Collection[str]) -> str:
    shown = ", ".join(repr(name)[:60] for name in list(names)[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown  # noqa: PLR2004 - a line
