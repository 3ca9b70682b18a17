"""What a caller gives as blocks of items: one object, or an iterable of objects."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from numbers import Integral
from typing import Any
from uuid import UUID

from fornada.errors import InputError
from fornada.formats.items import fitted_shape
from producer.inputs.data.arrays import ArrayReader
from producer.inputs.data.conversion import (
    as_array,
    instance_of,
    is_array_like,
    is_scalar,
    type_name,
)
from producer.inputs.data.item_ids import (
    as_item_ids,
    other_count,
    with_item_ids,
    without_duplicates,
)
from producer.inputs.data.pictures import image_file, is_image_file
from producer.inputs.interface import Block, ImageFile, ItemBlock, LocalFiles, Signature

ReadFiles = Callable[[LocalFiles], Iterator[Block]]

_WHAT_IS_TAKEN = "give an array of items, or an iterable of arrays"

_TENSORFLOW = ("tensorflow.python.data.ops.dataset_ops", "DatasetV2")
#: How TensorFlow counts the elements of a data set that repeats.
_ENDLESS = -1

#: Data sets whose elements are (inputs, labels) or (inputs, labels, weights).
_LABELLED = (
    _TENSORFLOW,
    ("keras.utils", "PyDataset"),
    ("torch.utils.data", "DataLoader"),
    ("torch.utils.data", "Dataset"),
)


def blocks_of(
    inputs: object, item_ids: object, *, signature: Signature, read_files: ReadFiles
) -> Iterator[Block]:
    """What a caller gives, as blocks; nothing is read before the first is taken.

    Args:
        inputs: As `Client.submit`.
        item_ids: One id an item, or `None`.
        signature: What the model takes.
        read_files: Reads local files.

    Raises:
        InputError: `inputs` or an id does not fit.
        UsageError: `item_ids` makes no sense, or came with inputs that have ids.
    """
    if item_ids is not None:
        # The caller's ids go before the paths'.
        read_files = partial(_without_ids, read_files)
    source = _Source(arrays=ArrayReader(signature=signature), read_files=read_files)
    blocks = source.blocks(inputs, where="inputs")
    if item_ids is not None:
        blocks = with_item_ids(blocks, as_item_ids(item_ids, where="item_ids"), where="inputs")
    return without_duplicates(blocks)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """Tells apart what callers give."""

    arrays: ArrayReader
    read_files: ReadFiles

    def blocks(self, inputs: object, *, where: str) -> Iterator[Block]:
        """The items of the whole of what a caller gives."""
        if isinstance(inputs, LocalFiles):
            yield from self.read_files(inputs)
        elif isinstance(inputs, Mapping) and not _is_file(inputs):
            name = self.arrays.signature.input.name
            if set(inputs) != {name}:
                raise InputError(
                    f"{where} has {_listed(inputs)}, and {self._model} takes one input, {name!r}; "
                    "name it so, or give only its items"
                )
            yield from self.blocks(inputs[name], where=f"{where}[{name!r}]")
        elif _is_file(inputs) or isinstance(inputs, str | bytes | ItemBlock):
            yield from self._element(inputs, where=where, labelled=False)
        elif self.arrays.reads(inputs):
            yield from self.arrays.blocks(inputs, where=where)
        else:
            yield from self._stream(inputs, where=where)

    @property
    def _model(self) -> str:
        return self.arrays.signature.model

    def _stream(self, inputs: Any, *, where: str) -> Iterator[Block]:
        labelled = any(instance_of(inputs, *kind) for kind in _LABELLED)
        elements = _iterator(inputs, where=where)
        first = next(elements, None)
        elements = elements if first is None else chain([first], elements)
        if isinstance(first, os.PathLike):
            yield from self.read_files(LocalFiles(paths=list(_paths(elements, where=where))))
            return
        for number, element in enumerate(elements):
            yield from self._element(element, where=f"{where}[{number}]", labelled=labelled)

    def _element(self, element: Any, *, where: str, labelled: bool) -> Iterator[Block]:
        """The items of one element of a stream, which may be changed once it is taken."""
        named = _with_ids(element, where=where)
        if named is not None:
            ids, items = named
            yield from _named(self._element(items, where=where, labelled=labelled), ids, where)
        elif isinstance(element, ItemBlock):
            yield from self._own_block(element)
        elif isinstance(element, os.PathLike):
            yield from self.read_files(LocalFiles(paths=[element]))
        elif _is_file(element):
            yield image_file(element, where=where)
        elif isinstance(element, Mapping):
            name = self._column(element, where=where)
            where = f"{where}[{name!r}]"
            yield from self._element(element[name], where=where, labelled=labelled)
        elif isinstance(element, tuple | list) and not self.arrays.reads(element):
            yield from self._parts(element, where=where, labelled=labelled)
        else:
            for block in self.arrays.blocks(element, where=where):
                yield replace(block, images=block.images.copy())

    def _parts(self, parts: Sequence[object], *, where: str, labelled: bool) -> Iterator[Block]:
        """The items of a list, or those of `(inputs, labels)`."""
        fits = [self._fits(part, where=where) for part in parts]
        if not labelled and isinstance(parts, tuple) and fits[:1] == fits[1:2]:
            raise InputError(
                f"{where} is {len(parts)} times what {self._model} takes, and may be (inputs, "
                "labels) or a batch; give the inputs alone"
            )
        if not labelled and isinstance(parts, list) and None in fits and any(fits):
            raise InputError(
                f"{where} is a list of which {self._model} takes only some parts; give the inputs "
                "without labels, or (inputs, labels) as a tuple"
            )
        is_list = isinstance(parts, list) and (not labelled or fits[:1] == ["item"])
        for number, part in enumerate(parts if is_list else parts[:1]):
            here = f"{where}[{number}]"
            if isinstance(part, list) and not self.arrays.reads(part):
                raise InputError(f"{here} is a list in a list of a stream; {_WHAT_IS_TAKEN}")
            yield from self._element(part, where=here, labelled=False)

    def _fits(self, part: object, *, where: str) -> str | None:
        """Whether something is of the shape of an `item`, of a `block` of items, or neither."""
        if not self.arrays.reads(part):
            return "item" if _is_file(part) else None
        shape = as_array(part, where=where).shape
        if self.arrays.is_one_item(shape):
            return "item"
        return "block" if fitted_shape(shape[1:], self.arrays.signature.input.shape) else None

    def _column(self, row: Mapping[Any, object], *, where: str) -> Any:
        """The key of a row of a data set under which the model's input is."""
        name = self.arrays.signature.input.name
        if name in row:
            return name
        if len(row) == 1:
            return next(iter(row))
        raise InputError(
            f"{where} has {_listed(row)}, and none is {name!r}, which {self._model} takes; rename "
            "one so, or give only its values"
        )

    def _own_block(self, block: ItemBlock) -> Iterator[ItemBlock]:
        first = 0
        ids = None
        if block.item_ids is not None:
            ids = as_item_ids(block.item_ids, where=f"{block.where}: item_ids")
        parts = list(self.arrays.blocks(block.images, where=block.where))
        count = sum(len(part.images) for part in parts)
        if ids is not None and len(ids) != count:
            raise other_count(ids, count, where=block.where)
        for part in parts:
            upto = first + len(part.images)
            given = {n - first: why for n, why in block.errors.items() if first <= n < upto}
            yield replace(
                part,
                item_ids=None if ids is None else ids[first:upto],
                errors={**part.errors, **given},
            )
            first = upto


def _is_file(value: object) -> bool:
    return isinstance(value, os.PathLike) or is_image_file(value)


def _listed(names: Iterable[object]) -> str:
    return ", ".join(repr(name)[:40] for name in list(names)[:10]) or "nothing"


def _iterator(inputs: Any, *, where: str) -> Iterator[Any]:
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
            f"{fact}); {_WHAT_IS_TAKEN}"
        ) from exc
    raise InputError(f"{where} is {type_name(inputs)}; {_WHAT_IS_TAKEN}")


def _numbered(inputs: Any, count: int, *, where: str) -> Iterator[Any]:
    for number in range(count):
        try:
            element = inputs[number]
        except IndexError as exc:
            raise InputError(
                f"{where} has length {count}, and no element {number}; mend its __len__"
            ) from exc
        yield element


def _paths(elements: Iterable[Any], *, where: str) -> Iterator["os.PathLike[str]"]:
    for number, element in enumerate(elements):
        if not isinstance(element, os.PathLike):
            raise InputError(
                f"{where}[{number}] is {type_name(element)} among paths; submit it separately"
            )
        yield element


def _with_ids(element: Any, *, where: str) -> tuple[list[str], Any] | None:
    """The parts of `(id, item)` or `(ids, block)`; `None` for anything else."""
    if not isinstance(element, tuple) or len(element) != 2:  # noqa: PLR2004 - a pair
        return None
    first, second = element
    ids: object = None
    if isinstance(first, str | bytes | UUID) and not isinstance(second, str | bytes | None):
        ids = [first]
    elif is_scalar(second):
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


def _named(blocks: Iterator[Block], ids: list[str], where: str) -> Iterator[Block]:
    """The blocks of one element, with the ids that came with them."""
    return with_item_ids(map(_bare, blocks), ids, where=where)


def _without_ids(read_files: ReadFiles, files: LocalFiles) -> Iterator[Block]:
    return map(_bare, read_files(files))


def _bare(block: Block) -> Block:
    if isinstance(block, ImageFile):
        return replace(block, item_id=None)
    return replace(block, item_ids=None)
