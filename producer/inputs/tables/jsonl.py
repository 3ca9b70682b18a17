"""Files of JSON objects, one a line, gzipped or not."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fornada.errors import InputError
from fornada.formats.tables.arrow import arrow, reading_table
from fornada.formats.tables.binding import types_by_name
from fornada.formats.tables.nesting import ShallowJson
from producer.inputs.array_files import reading
from producer.inputs.tables.interface import Open
from producer.inputs.tables.text_file import opened_text

_BLOCK_BYTES = 4 * 1024 * 1024


class JsonLinesTable:
    """A file of JSON objects; the first block says which columns there are."""

    parsed: frozenset[str] = frozenset()

    def __init__(self, opened: Open, *, where: str) -> None:
        self.where = where
        self._open = opened
        with self._opened(None) as batches:
            schema = batches.schema
        if not schema.names:
            raise InputError(f"{where} has no rows; give at least one JSON object a line")
        found = types_by_name(schema, where=where)
        self.column_types: Mapping[str, Any] = {name: _as_json(of) for name, of in found.items()}

    def batches(
        self, names: Sequence[str], *, row_count: int, floats: Collection[str] = ()
    ) -> Iterator[Any]:
        """As `Table`."""
        types = {
            name: _widest(of, is_float=name in floats) for name, of in self.column_types.items()
        }
        with self._opened(arrow().schema([(name, types[name]) for name in names])) as batches:
            while True:
                with reading(self.where), reading_table(self.where):
                    try:
                        batch = batches.read_next_batch()
                    except StopIteration:
                        return
                for first in range(0, batch.num_rows, row_count):
                    yield batch.slice(first, row_count)

    @contextmanager
    def _opened(self, schema: Any) -> Iterator[Any]:
        json = arrow("json")
        others = "infer" if schema is None else "ignore"
        parse = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=others)
        read = json.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False)
        with reading(self.where), opened_text(self._open) as stream:
            shallow = arrow().PythonFile(ShallowJson(stream, where=self.where), mode="r")
            with reading_table(self.where):
                batches = json.open_json(shallow, read_options=read, parse_options=parse)
            yield batches


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
