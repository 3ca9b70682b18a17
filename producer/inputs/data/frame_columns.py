"""Which columns of a data frame, or keys of a row, are which inputs of a model."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fornada.errors import InputError
from fornada.formats.items import Array
from fornada.formats.tables.binding import width_of
from fornada.tensors import InputTensor
from producer.inputs.data.conversion import as_array

if TYPE_CHECKING:
    import narwhals as nw

    Frame = nw.DataFrame[Any]

_SHOWN = 10


def bound_columns(
    frame: "Frame",
    given: Mapping[str, Sequence[str]],
    takes: Sequence[InputTensor],
    *,
    model: str,
    where: str,
) -> dict[str, list[str]]:
    """The columns of each input: those that are given, else the one of its name.

    A single input that is left takes the only other column; or all others that hold what it takes,
    in the frame's order, if there are as many as it has values. The only input of a model takes all
    columns otherwise.

    Raises:
        InputError: A column is missing, their number is not the input's, or an input is left.
    """
    columns = {name: list(each) for name, each in given.items()}
    columns |= {t.name: [t.name] for t in takes if t.name not in columns if t.name in frame.columns}
    left = [tensor for tensor in takes if tensor.name not in columns]
    if len(left) == 1:
        taken = {name for each in columns.values() for name in each}
        others = [name for name in frame.columns if name not in taken]
        found = _others(frame, others, left[0])
        if found is not None or len(takes) == 1:
            columns[left[0].name] = found or others
    for tensor in takes:
        _check(frame, columns.get(tensor.name, [tensor.name]), tensor, model=model, where=where)
    return columns


def _others(frame: "Frame", others: Sequence[str], tensor: InputTensor) -> list[str] | None:
    if len(others) == 1:
        return list(others)
    is_text = tensor.dtype == "string"
    fitting = [name for name in others if is_numeric(frame, name) != is_text]
    return fitting if fitting and len(fitting) == width_of(tensor) else None


def _check(
    frame: "Frame", columns: Sequence[str], tensor: InputTensor, *, model: str, where: str
) -> None:
    missing = next((name for name in columns if name not in frame.columns), None)
    if missing is not None:
        has = ", ".join(map(repr, frame.columns[:_SHOWN]))
        as_input = "" if missing == tensor.name else f" for {tensor.name!r}"
        raise InputError(
            f"{where} has the columns {has}, and {model} takes {missing!r}{as_input}; rename one "
            "so, or say columns={input: column}"
        )


def is_numeric(frame: "Frame", name: str) -> bool:
    """Whether a column holds numbers or truth values."""
    dtype = frame.schema[name]
    return bool(dtype.is_numeric() or dtype.is_boolean())


def shaped(array: Array, tensor: InputTensor) -> Array:
    """Values that are side by side in the last axis, in the shape of an input of several axes."""
    shape = tensor.shape
    if len(shape) < 2 or tensor.is_open or array.shape[-1] != math.prod(tensor.fixed_shape):  # noqa: PLR2004 - several
        return array
    return array.reshape(*array.shape[:-1], *tensor.fixed_shape)


def side_by_side(
    values: Mapping[Any, object], keys: Iterable[str], tensor: InputTensor, *, where: str
) -> Array:
    """What is under several keys as one array, an item's values along its last axes.

    Raises:
        InputError: They are not as many of each key.
    """
    of_text = tensor.dtype == "string"
    arrays = {
        key: as_array(values[key], of_text=of_text, where=f"{where}[{key!r}]") for key in keys
    }
    shapes = {key: array.shape for key, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{key!r}: {shape}" for key, shape in list(shapes.items())[:_SHOWN])
        raise InputError(f"{where} has values of several shapes ({listed}); give as many of each")
    parts = list(arrays.values())
    are_masked = any(isinstance(part, np.ma.MaskedArray) for part in parts)
    whole: Array = (np.ma.stack if are_masked else np.stack)(parts, axis=-1)
    return shaped(whole, tensor)
