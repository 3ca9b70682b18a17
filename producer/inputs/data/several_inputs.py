"""What a caller gives for several inputs of a model: mappings and columns by their names."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fornada.errors import InputError
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor
from producer.inputs.data.conversion import is_array_like, is_numbers, type_name
from producer.inputs.data.frame_columns import bound_columns, side_by_side
from producer.inputs.data.frames import frame_of, is_frame
from producer.inputs.data.iterating import (
    elements_of,
    first_and_all,
    is_labelled,
    listed_names,
    paths_among,
    with_ids,
)
from producer.inputs.data.one_input import (
    OneInput,
    ReadFiles,
    fitted_block,
    ids_for,
    with_own_ids,
)
from producer.inputs.data.pictures import is_image_file
from producer.inputs.data.zipping import InputItems, zipped
from producer.inputs.interface import Block, ItemBlock, LocalFiles, Signature


@dataclass(frozen=True, kw_only=True, slots=True)
class SeveralInputs:
    """Tells apart what callers give for several inputs."""

    signature: Signature
    #: A reader for each input, in the model's order.
    readers: Sequence[OneInput]
    read_files: ReadFiles
    #: Input -> the columns or keys whose values it is, where these have other names.
    columns: Mapping[str, Sequence[str]]
    #: Whether image files stay as they are, for workers to decode.
    keeps_files: bool

    def blocks(self, inputs: object, *, where: str) -> Iterator[Block]:
        """The items of the whole of what a caller gives.

        Raises:
            InputError: It does not fit, or does not say which input is which.
        """
        if isinstance(inputs, LocalFiles):
            yield from self._files(inputs)
        elif self._is_nameless(inputs):
            raise self._nameless(inputs, where=where)
        elif isinstance(inputs, Mapping | ItemBlock | os.PathLike) or is_frame(inputs):
            yield from self._element(inputs, is_whole=True, where=where)
        else:
            yield from self._stream(inputs, where=where)

    def _files(self, files: LocalFiles) -> Iterator[Block]:
        for block in self.read_files(files, self.signature):
            yield fitted_block(block, self.signature)

    def _stream(self, inputs: Any, *, where: str) -> Iterator[Block]:
        labelled = is_labelled(inputs)
        first, elements = first_and_all(elements_of(inputs, where=where))
        if isinstance(first, os.PathLike):
            yield from self._files(LocalFiles(paths=list(paths_among(elements, where=where))))
            return
        if isinstance(inputs, tuple | list) and self._is_nameless(first):
            raise self._nameless(inputs, where=where)
        for number, element in enumerate(elements):
            here = f"{where}[{number}]"
            named = None if labelled else with_ids(element, where=here)
            if named is not None:
                ids, items = named
                yield from ids_for(self._element(items, is_whole=False, where=here), ids, here)
            elif isinstance(element, tuple) and element and isinstance(element[0], Mapping):
                # What follows are labels.
                yield from self._element(element[0], is_whole=False, where=here)
            else:
                yield from self._element(element, is_whole=False, where=here)

    def _element(self, element: Any, *, is_whole: bool, where: str) -> Iterator[Block]:
        """The items of one element of a stream, or of all that a caller gives."""
        if isinstance(element, os.PathLike):
            yield from self._files(LocalFiles(paths=[element]))
        elif isinstance(element, ItemBlock):
            yield from self._own_block(element)
        elif isinstance(element, Mapping) and not is_image_file(element):
            values = self._values(element, is_whole=is_whole, where=where)
            for block in self._zipped(values, is_whole=is_whole, where=where):
                # What a stream gives may be changed once it is taken.
                copied = Rows(*(array.copy() for array in block.rows.arrays))
                yield block if is_whole else replace(block, rows=copied)
        else:
            frame = None if is_image_file(element) else frame_of(element, where=where)
            if frame is None:
                raise self._nameless(element, where=where)
            columns = bound_columns(
                frame, self.columns, self.signature.inputs, model=self.signature.model, where=where
            )
            native = frame.to_native()
            yield from self._zipped(dict.fromkeys(columns, native), columns=columns, where=where)

    def _values(
        self, given: Mapping[Any, object], *, is_whole: bool, where: str
    ) -> dict[str, object]:
        """What is given for each input; a row of a data set may have more."""
        keys = {name: self._keys(name) for name in self._names}
        wanted = [key for each in keys.values() for key in each]
        missing = [key for key in wanted if key not in given]
        others = [key for key in given if key not in wanted]
        if missing or (others and is_whole):
            lacks = f"lacks {listed_names(missing)}" if missing else ""
            has = f"has {listed_names(others)}, which is none of them" if others else ""
            raise InputError(
                f"{where} {' and '.join(filter(None, [lacks, has]))}; {self.signature.model} "
                f"takes {self.signature.names}: give what is under these names, and no other"
            )
        return {
            reader.arrays.taken.name: self._value(given, reader.arrays.taken, where=where)
            for reader in self.readers
        }

    def _value(self, given: Mapping[Any, object], taken: InputTensor, *, where: str) -> object:
        keys = self._keys(taken.name)
        return given[keys[0]] if len(keys) == 1 else side_by_side(given, keys, taken, where=where)

    def _keys(self, name: str) -> Sequence[str]:
        return self.columns.get(name, [name])

    @property
    def _names(self) -> list[str]:
        return [tensor.name for tensor in self.signature.inputs]

    def _zipped(
        self,
        values: Mapping[str, object],
        *,
        columns: Mapping[str, Sequence[str]] | None = None,
        is_whole: bool = True,
        where: str,
    ) -> Iterator[ItemBlock]:
        items = []
        for reader in self.readers:
            taken = reader.arrays.taken
            here = f"{where}[{taken.name!r}]"
            value = values[taken.name]
            given = replace(reader, columns=columns[taken.name]) if columns else reader
            read = given.blocks if is_whole else given.part
            blocks = read(value, where=here)
            items.append(InputItems(taken, blocks, keeps_files=self.keeps_files))
        return zipped(items, where=where)

    def _own_block(self, block: ItemBlock) -> Iterator[ItemBlock]:
        given = block.rows.arrays if isinstance(block.rows, Rows) else (block.rows,)
        if len(given) != len(self.readers):
            raise InputError(
                f"{block.where} has rows of {len(given)} arrays, and {self.signature.model} takes "
                f"{self.signature.names}"
            )
        values = dict(zip(self._names, given, strict=True))
        yield from with_own_ids(self._zipped(values, where=block.where), block)

    def _is_nameless(self, given: object) -> bool:
        """Whether something holds items of inputs, and does not say which."""
        if is_image_file(given) or isinstance(given, str | bytes):
            return True
        return not is_frame(given) and (is_array_like(given) or is_numbers(given))

    def _nameless(self, given: object, *, where: str) -> InputError:
        keys = [key for name in self._names for key in self._keys(name)]
        names = ", ".join(f"{key!r}: …" for key in keys)
        return InputError(
            f"{where} is {type_name(given)}, and {self.signature.model} takes "
            f"{self.signature.names}; give a mapping, {{{names}}}"
        )
