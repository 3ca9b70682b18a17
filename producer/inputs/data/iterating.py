"""The elements of what can be iterated, and the parts of an element."""

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from numbers import Integral
from typing import Any
from uuid import UUID

from fornada.errors import InputError
from producer.inputs.data.conversion import (
    as_array,
    instance_of,
    is_array_like,
    is_scalar,
    type_name,
)
from producer.inputs.data.item_ids import as_item_ids

WHAT_IS_TAKEN = "give an array of items, or an iterable of arrays"

_TENSORFLOW = ("tensorflow.python.data.ops.dataset_ops", "DatasetV2")
#: Stands for the first of no elements.
_NOTHING = object()
#: How TensorFlow counts the elements of a data set that repeats.
_ENDLESS = -1

#: Data sets whose elements are (inputs, labels) or (inputs, labels, weights).
_LABELLED = (
    _TENSORFLOW,
    ("keras.utils", "PyDataset"),
    ("torch.utils.data", "DataLoader"),
    ("torch.utils.data", "Dataset"),
)


def is_labelled(inputs: object) -> bool:
    """Whether elements are (inputs, labels), and not a batch of two."""
    return any(instance_of(inputs, *kind) for kind in _LABELLED)


def listed_names(names: Iterable[object]) -> str:
    """The first names, for error messages."""
    return ", ".join(repr(name)[:40] for name in list(names)[:10]) or "nothing"


def elements_of(inputs: Any, *, where: str) -> Iterator[Any]:
    """The elements of what can be iterated, or read by numbers as data sets of torch can.

    Raises:
        InputError: It is neither, or never ends.
    """
    if instance_of(inputs, *_TENSORFLOW) and int(inputs.cardinality()) == _ENDLESS:
        raise InputError(f"{where} repeats without an end; give it without repeat()")
    try:
        if isinstance(inputs, Iterable):
            return iter(inputs)
        if hasattr(type(inputs), "__getitem__"):
            return _numbered(inputs, len(inputs), where=where)
    except MemoryError:
        raise
    except Exception as exc:
        fact = (str(exc).splitlines() or [""])[0][:200]
        raise InputError(
            f"{where} is {type_name(inputs)}, which cannot be iterated ({type(exc).__name__}: "
            f"{fact}); {WHAT_IS_TAKEN}"
        ) from exc
    raise InputError(f"{where} is {type_name(inputs)}; {WHAT_IS_TAKEN}")


def first_and_all(elements: Iterator[Any]) -> tuple[Any, Iterator[Any]]:
    """The first element, and all of them; a bare `object` stands for the first of none."""
    first = next(elements, _NOTHING)
    return first, elements if first is _NOTHING else chain([first], elements)


def _numbered(inputs: Any, count: int, *, where: str) -> Iterator[Any]:
    for number in range(count):
        try:
            element = inputs[number]
        except IndexError as exc:
            raise InputError(
                f"{where} has length {count}, and no element {number}; mend its __len__"
            ) from exc
        yield element


def paths_among(elements: Iterable[Any], *, where: str) -> Iterator["os.PathLike[str]"]:
    """The elements, which are all paths.

    Raises:
        InputError: One is not.
    """
    for number, element in enumerate(elements):
        if not isinstance(element, os.PathLike):
            raise InputError(
                f"{where}[{number}] is {type_name(element)} among paths; submit it separately"
            )
        yield element


def with_ids(element: Any, *, of_text: bool = False, where: str) -> tuple[list[str], Any] | None:
    """The parts of `(id, item)` or `(ids, block)`; `None` for anything else.

    Args:
        element: Anything.
        of_text: Whether items are texts, so that texts first are ids only if texts follow.
        where: For error messages.

    Raises:
        InputError: An id is not one.
    """
    if not isinstance(element, tuple) or len(element) != 2:  # noqa: PLR2004 - a pair
        return None
    first, second = element
    if of_text and second is not None and not _is_text(second):
        return None
    ids: object = None
    is_one = isinstance(first, str | bytes | UUID)
    if is_one and (of_text or not isinstance(second, str | bytes | None)):
        ids = [first]
    elif is_scalar(second) and not of_text:
        # An item of two numbers.
        return None
    elif isinstance(first, Integral) and not isinstance(first, bool):
        ids = [first]
    elif isinstance(first, list | tuple) and first and isinstance(first[0], str):
        ids = first
    elif is_array_like(first) and len(getattr(first, "shape", (0, 0))) <= 1:
        array = as_array(first, where=where)
        if array.dtype.kind in ("SUTOiu" if array.ndim == 0 else "SUTO"):
            ids = array.reshape(-1).tolist()
    return None if ids is None else (as_item_ids(ids, where=f"{where}: ids"), second)


def _is_text(value: Any) -> bool:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return isinstance(value, str | bytes) or (bool(kind) and str(kind) in "OSTU")
