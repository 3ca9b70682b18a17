"""Files of JSON objects, one a line, gzipped or not."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from fornada.errors import InputError
from fornada.formats.tables.arrow import arrow, reading_table
from fornada.formats.tables.binding import types_by_name
from fornada.formats.tables.json_block import BadLine, JsonBlock, block_parts, json_blocks
from producer.inputs.array_files import reading
from producer.inputs.tables.interface import UNREAD, Open
from producer.inputs.tables.text_file import opened_text

#: Before the first good one; each takes about 0.1 ms.
_MOST_BAD_LINES = 10_000


class JsonLinesTable:
    """A file of JSON objects; the first block says which columns there are.

    A line that is none costs its row.
    """

    parsed: frozenset[str] = frozenset()

    def __init__(self, opened: Open, *, where: str) -> None:
        self.where = where
        self._open = opened
        self.column_types: Mapping[str, Any] = self._types()
        if not self.column_types:
            raise InputError(f"{where} has no rows; give at least one JSON object a line")

    def batches(
        self, names: Sequence[str], *, row_count: int, floats: Collection[str] = ()
    ) -> Iterator[Any]:
        """As `Table`."""
        types = {
            name: _widest(of, is_float=name in floats) for name, of in self.column_types.items()
        }
        schema = arrow().schema([(name, types[name]) for name in names])
        for block in self._blocks():
            with reading_table(self.where):
                yield from _batches(block, schema, row_count)

    def _types(self) -> dict[str, Any]:
        """Name of a column -> its type, by the good lines of the first block with any line."""
        blocks = (block for block in self._blocks() if block.data.strip())
        first = next(blocks, None)
        found: dict[str, Any] | None = None
        bad: list[BadLine] = []
        for part in () if first is None else block_parts(first, None):
            if isinstance(part, BadLine):
                if found is None:
                    bad.append(part)
                if len(bad) >= _MOST_BAD_LINES:
                    break
                continue
            with reading_table(self.where):
                types = types_by_name(part.schema, where=self.where)
            types = {name: _as_json(of) for name, of in types.items()}
            found = types if found is None else _merged(found, types)
        if found is None and bad:
            raise InputError(f"{self.where} cannot be read ({bad[0].why}); write it again")
        return found or {}

    def _blocks(self) -> Iterator[JsonBlock]:
        with reading(self.where), opened_text(self._open) as stream, reading_table(self.where):
            yield from json_blocks(stream, where=self.where)


def _batches(block: JsonBlock, schema: Any, row_count: int) -> Iterator[Any]:
    """The rows of a block, and beside them why some of them could not be read."""
    pa = arrow()
    unread = pa.struct([("place", pa.string()), ("why", pa.string())])
    held: list[Any] = []
    held_count = 0
    for part in block_parts(block, schema):
        if isinstance(part, BadLine):
            columns = [pa.nulls(1, of) for of in schema.types]
            reasons = pa.array([part._asdict()], unread)
            table = pa.table([*columns, reasons], names=[*schema.names, UNREAD])
        else:
            reasons = pa.nulls(part.num_rows, unread)
            table = part.select(schema.names).append_column(UNREAD, reasons)
        held.append(table)
        held_count += table.num_rows
        if held_count >= row_count:
            yield from _joined(held, row_count)
            held, held_count = [], 0
    if held:
        yield from _joined(held, row_count)


def _joined(tables: Sequence[Any], row_count: int) -> Iterator[Any]:
    table = arrow().concat_tables(tables).combine_chunks()
    yield from table.to_batches(max_chunksize=row_count)


def _merged(found: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The types of columns that two runs of rows have; of two that differ, the first one."""
    pa = arrow()
    merged = dict(found)
    for name, of in more.items():
        both = [pa.schema([(name, merged.get(name, of))]), pa.schema([(name, of)])]
        with suppress(pa.ArrowTypeError, pa.ArrowInvalid):
            merged[name] = pa.unify_schemas(both, promote_options="permissive").types[0]
    return merged


def _as_json(of: Any) -> Any:
    """The type without timestamps, which pyarrow sees in texts that look so."""
    pa, types = arrow(), arrow("types")
    if types.is_list(of):
        return pa.list_(_as_json(of.value_type))
    return pa.string() if types.is_temporal(of) else of


def _widest(of: Any, *, is_float: bool) -> Any:
    """The type that takes what later blocks may hold, too."""
    pa, types = arrow(), arrow("types")
    if types.is_list(of):
        return pa.list_(_widest(of.value_type, is_float=is_float))
    if is_float and (types.is_integer(of) or types.is_null(of)):
        return pa.float64()
    return pa.string() if types.is_null(of) else of
