"""What a caller gives for one input of a model, as blocks of items."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fornada.errors import InputError, UsageError
from fornada.formats.fitting import fit_rows
from fornada.formats.items import fitted_shape
from fornada.formats.rows import Rows
from producer.inputs.data.arrays import ArrayReader
from producer.inputs.data.conversion import as_array, is_texts
from producer.inputs.data.frame_columns import side_by_side
from producer.inputs.data.frames import is_frame
from producer.inputs.data.item_ids import as_item_ids, other_count, with_item_ids
from producer.inputs.data.iterating import (
    WHAT_IS_TAKEN,
    elements_of,
    first_and_all,
    is_labelled,
    listed_names,
    paths_among,
    with_ids,
)
from producer.inputs.data.pictures import image_file, is_image_file
from producer.inputs.interface import Block, ImageFile, ItemBlock, LocalFiles, Signature

#: Reads local files for a model of the signature.
ReadFiles = Callable[[LocalFiles, Signature], Iterator[Block]]

#: Texts of a stream that are read together.
_TEXTS_AT_A_TIME = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class OneInput:
    """Tells apart what callers give for one input."""

    arrays: ArrayReader
    read_files: ReadFiles
    #: The columns of a data frame, or keys of a row, whose values the input is; by default those
    #: that `bound_columns` finds, and the key of its name.
    columns: Sequence[str] | None = None

    def blocks(self, inputs: object, *, where: str) -> Iterator[Block]:
        """The items of the whole of what a caller gives.

        Raises:
            InputError: It does not fit.
            UsageError: A column is named, and there are none.
        """
        if isinstance(inputs, LocalFiles):
            yield from self._files(inputs)
        elif isinstance(inputs, Mapping) and not self._is_file(inputs):
            if set(inputs) != set(self._keys):
                raise InputError(
                    f"{where} has {listed_names(inputs)}, and {self._model} takes one input, "
                    f"{listed_names(self._keys)}; name it so, or give only its items"
                )
            where, value = self._value(inputs, self._keys, where=where)
            yield from replace(self, columns=None).blocks(value, where=where)
        elif self._is_file(inputs) or isinstance(inputs, str | bytes | ItemBlock):
            yield from self._element(inputs, where=where, labelled=False)
        elif self.arrays.reads(inputs):
            if self.columns is not None and not is_frame(inputs):
                raise UsageError(
                    f"columns names {listed_names(self.columns)}, and {where} has no columns; "
                    "leave it out"
                )
            yield from self.arrays.blocks(inputs, where=where, columns=self.columns)
        else:
            yield from self._stream(inputs, where=where)

    def part(self, inputs: object, *, where: str) -> Iterator[Block]:
        """The same of a part of a stream, which may be null or empty."""
        if self.arrays.is_missing(inputs):
            return self.arrays.missing(inputs, where=where)
        return self.blocks(inputs, where=where)

    @property
    def _model(self) -> str:
        return self.arrays.model

    @property
    def _keys(self) -> Sequence[str]:
        """The keys of a row under which the input is."""
        return self.columns or [self.arrays.taken.name]

    def _value(
        self, row: Mapping[Any, object], keys: Sequence[Any], *, where: str
    ) -> tuple[str, object]:
        """Where the input's value is in a row, and the value: of several keys, side by side."""
        if len(keys) == 1:
            return f"{where}[{keys[0]!r}]", row[keys[0]]
        return where, side_by_side(row, keys, self.arrays.taken, where=where)

    def _is_file(self, value: object) -> bool:
        # A text may begin as an image file does.
        is_text = self.arrays.takes_text and isinstance(value, bytes)
        return isinstance(value, os.PathLike) or (not is_text and is_image_file(value))

    def _files(self, files: LocalFiles) -> Iterator[Block]:
        signature = Signature(inputs=[self.arrays.taken], model=self._model)
        return (fitted_block(block, signature) for block in self.read_files(files, signature))

    def _stream(self, inputs: Any, *, where: str) -> Iterator[Block]:
        labelled = is_labelled(inputs)
        first, elements = first_and_all(elements_of(inputs, where=where))
        if isinstance(first, os.PathLike):
            yield from self._files(LocalFiles(paths=list(paths_among(elements, where=where))))
            return
        texts: list[object] = []
        number = -1
        for number, element in enumerate(elements):
            if isinstance(element, str | bytes | None) and self.arrays.takes_text_alone:
                texts.append(element)
                if len(texts) < _TEXTS_AT_A_TIME:
                    continue
                element, texts = texts, []  # noqa: PLW2901 - all of them
            elif texts:
                yield from self._texts(texts, before=number, where=where)
                texts = []
            yield from self._element(element, where=f"{where}[{number}]", labelled=labelled)
        if texts:
            yield from self._texts(texts, before=number + 1, where=where)

    def _texts(self, texts: Sequence[object], *, before: int, where: str) -> Iterator[Block]:
        """Texts of a stream that end `before` an element."""
        return self.arrays.blocks(texts, where=f"{where}[{before - len(texts)}:{before}]")

    def _element(self, element: Any, *, where: str, labelled: bool) -> Iterator[Block]:
        """The items of one element of a stream, which may be changed once it is taken."""
        of_text = self.arrays.takes_text
        named = None
        if not (labelled and of_text):
            named = with_ids(element, of_text=of_text, where=where)
        if named is not None:
            ids, items = named
            yield from ids_for(self._element(items, where=where, labelled=labelled), ids, where)
        elif (of_text or element is not None) and self.arrays.is_missing(element):
            yield from self.arrays.missing(element, where=where)
        elif isinstance(element, ItemBlock):
            yield from self._own_block(element)
        elif isinstance(element, os.PathLike):
            yield from self._files(LocalFiles(paths=[element]))
        elif self._is_file(element):
            yield image_file(element, where=where)
        elif isinstance(element, Mapping):
            yield from self._row(element, where=where, labelled=labelled)
        elif self._are_parts(element):
            yield from self._parts(element, where=where, labelled=labelled)
        else:
            for block in self.arrays.blocks(element, where=where, columns=self.columns):
                yield replace(block, rows=Rows(block.rows.only.copy()))

    def _row(self, row: Mapping[Any, object], *, where: str, labelled: bool) -> Iterator[Block]:
        where, value = self._value(row, self._keys_in(row, where=where), where=where)
        if value is None:
            return self.arrays.missing(value, where=where)
        return self._element(value, where=where, labelled=labelled)

    def _are_parts(self, element: object) -> bool:
        if not isinstance(element, tuple | list):
            return False
        return not self.arrays.reads(element) or self._is_labelled_text(element)

    def _is_labelled_text(self, element: Sequence[object]) -> bool:
        """Whether an element is (text, label)."""
        if not self.arrays.takes_text or not isinstance(element, tuple) or len(element) == 1:
            return False
        return is_texts(element[0]) and not is_texts(element[1]) and element[1] is not None

    def _parts(self, parts: Sequence[object], *, where: str, labelled: bool) -> Iterator[Block]:
        """The items of a list, or those of `(inputs, labels)`."""
        if self._is_labelled_text(parts):
            parts, labelled = parts[:1], True
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
                raise InputError(f"{here} is a list in a list of a stream; {WHAT_IS_TAKEN}")
            yield from self._element(part, where=here, labelled=False)

    def _fits(self, part: object, *, where: str) -> str | None:
        """Whether something is of the shape of an `item`, of a `block` of items, or neither."""
        if not self.arrays.reads(part):
            return "item" if self._is_file(part) else None
        array = as_array(part, where=where)
        if self.arrays.takes_text and array.dtype.kind not in "OSTU":
            return None
        if self.arrays.is_one_item(array.shape):
            return "item"
        fitted = fitted_shape(array.shape[1:], self.arrays.taken.shape)
        return None if fitted is None or not array.shape else "block"

    def _keys_in(self, row: Mapping[Any, object], *, where: str) -> Sequence[Any]:
        """The keys of a row of a data set under which the model's input is."""
        missing = [key for key in self._keys if key not in row]
        if not missing:
            return self._keys
        if len(row) == 1 and self.columns is None:
            return list(row)
        raise InputError(
            f"{where} has {listed_names(row)}, and none is {missing[0]!r}, which {self._model} "
            "takes; rename one so, or give only its values"
        )

    def _own_block(self, block: ItemBlock) -> Iterator[ItemBlock]:
        given = block.rows.arrays if isinstance(block.rows, Rows) else (block.rows,)
        if len(given) != 1:
            raise InputError(
                f"{block.where} has rows of {len(given)} arrays, and {self._model} takes one input"
            )
        yield from with_own_ids(self.arrays.blocks(given[0], where=block.where), block)


def with_own_ids(parts: Iterator[ItemBlock], block: ItemBlock) -> Iterator[ItemBlock]:
    """The items of a caller's block, which were read again, with its ids and errors.

    Raises:
        InputError: It has another number of ids.
    """
    first, ids = 0, None
    if block.item_ids is not None:
        ids = as_item_ids(block.item_ids, where=f"{block.where}: item_ids")
    read = list(parts)
    count = sum(len(part.rows) for part in read)
    if ids is not None and len(ids) != count:
        raise other_count(ids, count, where=block.where)
    for part in read:
        upto = first + len(part.rows)
        given = {n - first: why for n, why in block.errors.items() if first <= n < upto}
        yield replace(
            part,
            item_ids=None if ids is None else ids[first:upto],
            errors={**part.errors, **given},
        )
        first = upto


def fitted_block(block: Block, signature: Signature) -> Block:
    """A block of a file, with the shapes and dtypes that the model takes.

    Raises:
        InputError: It does not fit.
    """
    if isinstance(block, ImageFile) or block.files:
        # Tables fit their rows themselves.
        return block
    rows, errors = fit_rows(block.rows, signature.inputs, model=signature.model, where=block.where)
    return replace(block, rows=rows, errors={**errors, **block.errors})


def ids_for(blocks: Iterator[Block], ids: list[str], where: str) -> Iterator[Block]:
    """The blocks of one element, with the ids that came with them."""
    return with_item_ids(map(bare, blocks), ids, where=where)


def bare(block: Block) -> Block:
    """The block without ids."""
    if isinstance(block, ImageFile):
        return replace(block, item_id=None)
    return replace(block, item_ids=None)
