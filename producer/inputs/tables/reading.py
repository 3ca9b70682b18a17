"""Tables on this machine as items, a batch of rows in memory at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fornada.errors import InputError
from fornada.formats.items import Array, item_size_bytes
from fornada.formats.rows import Rows
from fornada.formats.tables.binding import TableBinding, check_types, kind_of
from fornada.formats.tables.conversion import TableItems, id_texts, table_items
from fornada.tensors import InputTensor
from producer.inputs.data.conversion import in_cells
from producer.inputs.interface import Block, ItemBlock, Signature
from producer.inputs.tables.binding import bound
from producer.inputs.tables.images import ImageReader
from producer.inputs.tables.interface import UNREAD, Table, TableOptions

_MOST_ROWS = 8192
#: Files of a few megabytes each.
_MOST_IMAGES = 16
_BATCH_BYTES = 16 * 1024 * 1024


def table_blocks(
    tables: Sequence[Table],
    options: TableOptions,
    *,
    signature: Signature,
    images: ImageReader,
    keeps_files: bool = False,
) -> Iterator[Block]:
    """The rows of all tables as items, in order; the columns of all are checked now.

    The first table decides which columns are which inputs; the others have them too.

    Args:
        tables: At least one.
        options: What the caller says about columns.
        signature: What the model takes.
        images: Reads image files that tables name or hold.
        keeps_files: Whether those beside other inputs stay as they are, for workers to decode.

    Raises:
        InputError: A table lacks a column, it has another type, or there are no rows.
        UsageError: Columns are given for an input that the model lacks.
    """
    first, takes, model = tables[0], signature.inputs, signature.model
    binding = bound(
        first.column_types,
        options,
        takes,
        model=model,
        where=first.where,
        parsed=first.parsed,
        takes_paths=True,
    )
    for table in tables[1:]:
        check_types(
            table.column_types,
            binding,
            takes,
            model=model,
            where=table.where,
            parsed=table.parsed,
            takes_paths=True,
        )
    reader = _Reader(binding=binding, takes=takes, images=images, keeps_files=keeps_files)
    return reader.all_blocks(tables)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    """Reads bound tables."""

    binding: TableBinding
    takes: Sequence[InputTensor]
    images: ImageReader
    keeps_files: bool

    def all_blocks(self, tables: Sequence[Table]) -> Iterator[Block]:
        is_empty = True
        for table in tables:
            for block in self.blocks(table):
                is_empty = False
                yield block
        if is_empty:
            raise InputError(f"{tables[0].where} has no rows; give a table with at least one")

    def blocks(self, table: Table) -> Iterator[Block]:
        binding, first_row = self.binding, 0
        ids = [] if binding.id_column is None else [binding.id_column]
        names = list(dict.fromkeys([*binding.names, *ids]))
        pictures = self._pictures(table)
        row_count = _MOST_IMAGES if pictures else self._row_count
        for batch in table.batches(names, row_count=row_count, floats=self._floats):
            unread = _unread(batch)
            item_ids = None
            if binding.id_column is not None:
                places = {row: each["place"] for row, each in unread.items()}
                column = batch.column(binding.id_column)
                item_ids = id_texts(column, places, first_row=first_row, where=table.where)
            reasons = {row: each["why"] for row, each in unread.items()}
            where = f"{table.where}, from row {first_row}"
            if pictures and len(self.takes) == 1:
                (name,) = pictures
                files = self.images.files(batch.column(name), item_ids, name=name, where=where)
                for row, file in enumerate(files):
                    yield replace(file, error=reasons.get(row, file.error))
            elif batch.num_rows:
                items = self._items(batch, pictures, parsed=table.parsed, where=where)
                items = replace(items, errors=items.errors | reasons)
                kept = self._inputs_of(pictures) if self.keeps_files else frozenset()
                yield from _blocks(items, self.takes, item_ids, files=kept, where=where)
            first_row += batch.num_rows

    def _pictures(self, table: Table) -> list[str]:
        """The columns of image files, or of paths of such."""
        columns = [self.binding.columns[tensor.name] for tensor in self.takes if tensor.image]
        kinds = {"text", "bytes"}
        return [c[0] for c in columns if len(c) == 1 and kind_of(table.column_types[c[0]]) in kinds]

    def _items(
        self, batch: Any, pictures: Sequence[str], *, parsed: frozenset[str], where: str
    ) -> TableItems:
        unread: dict[int, str] = {}
        files: dict[str, Array] = {}
        for name in pictures:
            at = batch.schema.get_field_index(name)
            contents, errors = self.images.contents(batch.column(at), name=name, where=where)
            files[name] = in_cells([data or b"" for data in contents.to_pylist()])
            batch, unread = batch.set_column(at, name, contents), errors | unread
        kept = self._inputs_of(pictures) if self.keeps_files else frozenset()
        others = [tensor for tensor in self.takes if tensor.name not in kept]
        items = table_items(batch, self.binding, others, parsed=parsed)
        read = dict(zip((tensor.name for tensor in others), items.columns, strict=True))
        columns = [
            read[t.name] if t.name in read else files[self.binding.columns[t.name][0]]
            for t in self.takes
        ]
        return TableItems(columns=columns, errors=items.errors | unread)

    def _inputs_of(self, pictures: Sequence[str]) -> frozenset[str]:
        """The inputs that are these columns of files."""
        columns = self.binding.columns
        return frozenset(t.name for t in self.takes if t.image and columns[t.name][0] in pictures)

    @property
    def _row_count(self) -> int:
        item_bytes = sum(item_size_bytes(t.fixed_shape, t.numpy_dtype) for t in self.takes)
        return max(1, min(_MOST_ROWS, _BATCH_BYTES // item_bytes))

    @property
    def _floats(self) -> set[str]:
        floats = (t for t in self.takes if np.dtype(t.numpy_dtype).kind == "f")
        return {name for tensor in floats for name in self.binding.columns[tensor.name]}


def _unread(batch: Any) -> dict[int, dict[str, str]]:
    """Row that could not be read -> its place, and why."""
    if UNREAD not in batch.schema.names:
        return {}
    column = batch.column(UNREAD)
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).tolist()
    return {row: column[row].as_py() for row in rows}


def _blocks(
    items: TableItems,
    takes: Sequence[InputTensor],
    item_ids: list[str] | None,
    *,
    files: frozenset[str],
    where: str,
) -> Iterator[ItemBlock]:
    """The items in blocks of one shape each, in order."""
    count = len(items.columns[0])
    errors = dict(items.errors)
    lists = {at: each for at, each in enumerate(items.columns) if isinstance(each, list)}
    for at, cells in lists.items():
        for row, item in enumerate(cells):
            if not takes[at].takes(item.shape):
                name, has = takes[at].name, list(item.shape)
                why = f"{name!r} has shape {has}, and the model takes {takes[at]}"
                errors.setdefault(row, why)
    for start, stop in _runs(list(lists.values()), errors, count):
        good = next((row for row in range(start, stop) if row not in errors), None)
        arrays: list[Array] = []
        for at, column in enumerate(items.columns):
            if not isinstance(column, list):
                arrays.append(column[start:stop])
                continue
            # What stands for a failed row has the shape of the others.
            of_all = tuple(side or 1 for side in takes[at].shape)
            shape = of_all if good is None else column[good].shape
            blank = np.zeros(shape, takes[at].numpy_dtype)
            rows = range(start, stop)
            arrays.append(np.stack([blank if row in errors else column[row] for row in rows]))
        yield ItemBlock(
            rows=Rows(*arrays),
            item_ids=None if item_ids is None else item_ids[start:stop],
            where=where,
            errors={row - start: errors[row] for row in range(start, stop) if row in errors},
            files=files,
        )


def _runs(
    lists: Sequence[list[Array]], errors: dict[int, str], count: int
) -> Iterator[tuple[int, int]]:
    """Where rows of the same shapes begin and end; failed ones belong to those before."""
    start = 0
    shapes: tuple[tuple[int, ...], ...] | None = None
    for row in range(count) if lists else ():
        own = shapes if row in errors else tuple(column[row].shape for column in lists)
        if shapes is not None and own != shapes:
            yield start, row
            start = row
        shapes = own
    yield start, count
