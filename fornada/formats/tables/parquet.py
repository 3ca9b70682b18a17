"""A Parquet file in a store: its footer, and rows of its row groups, read by ranges."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fornada.errors import InputError
from fornada.formats.tables.arrow import arrow, reading_table
from fornada.formats.tables.binding import types_by_name
from fornada.formats.tables.pages import claimed_by_pages
from fornada.formats.tables.ranged_file import RangedFile, ReadRange, Span

#: Of the columns of a shard, stored or decoded.
MAX_TABLE_BYTES = 1024**3
#: Ten thousand row groups of a hundred columns have about that.
_MAX_FOOTER_BYTES = 128 * 1024 * 1024
#: What is read first of a file; most footers are smaller.
_TAIL_BYTES = 64 * 1024
_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_END = struct.Struct("<I4s")
_BUFFER_BYTES = 1024 * 1024
#: Of a batch, in all of its columns.
_BATCH_VALUES = 1024 * 1024
#: Of an int64 or a double.
_NUMBER_BYTES = 8


class RowGroup(NamedTuple):
    """A row group, as the footer describes it."""

    row_count: int
    #: Of the wanted columns, decompressed.
    size_bytes: int


class StoredParquet:
    """A Parquet file of which the footer was read."""

    def __init__(self, read_range: ReadRange, *, size_bytes: int, where: str) -> None:
        """Read the footer.

        Args:
            read_range: Gives bytes of the file.
            size_bytes: Of the file.
            where: For error messages.

        Raises:
            InputError: It is no Parquet file, or damaged.
            MissingExtraError: pyarrow is not installed.
        """
        self.where = where
        self._file = RangedFile(read_range, size_bytes=size_bytes)
        self._load_footer()
        with reading_table(where):
            self._metadata: Any = None
            opened = self._opened()
            self._metadata, schema = opened.metadata, opened.schema_arrow
            self._paths = [
                self._metadata.schema.column(at).path for at in range(self._metadata.num_columns)
            ]
        #: Name of a column -> its Arrow type, in order.
        self.column_types: Mapping[str, Any] = types_by_name(schema, where=where)

    def row_groups(self, names: Sequence[str]) -> list[RowGroup]:
        """All row groups, with what their columns `names` have.

        Raises:
            InputError: The footer states what cannot be.
        """
        leaves = self._leaves(names)
        found = []
        for number in range(self._metadata.num_row_groups):
            group = self._metadata.row_group(number)
            sizes = [group.column(leaf).total_uncompressed_size for leaf in leaves]
            if group.num_rows < 0 or any(size < 0 for size in sizes):
                raise self._damaged(f"row group {number} has a negative size")
            found.append(RowGroup(group.num_rows, sum(sizes)))
        return found

    def batches(self, names: Sequence[str], *, row_groups: range) -> Iterator[Any]:
        """Record batches of some columns of a run of row groups.

        What is read is held in memory, packed; batches are decoded one at a time. Text is in
        dictionaries, so that a file cannot make much of little.

        Raises:
            InputError: The file is damaged, or has other row groups, or they are too large.
        """
        self._load(names, row_groups)
        leaves = self._leaves(names)
        with reading_table(self.where):
            texts = [
                self._paths[leaf]
                for leaf in leaves
                if self._metadata.schema.column(leaf).physical_type == "BYTE_ARRAY"
            ]
            yield from self._opened(texts).iter_batches(
                batch_size=max(1, _BATCH_VALUES // max(1, len(leaves))),
                row_groups=list(row_groups),
                columns=list(names),
                use_threads=False,
            )

    def _opened(self, dictionaries: Sequence[str] = ()) -> Any:
        return arrow("parquet").ParquetFile(
            arrow().PythonFile(self._file, mode="r"),
            metadata=self._metadata,
            pre_buffer=False,
            buffer_size=_BUFFER_BYTES,
            read_dictionary=list(dictionaries),
        )

    def _load_footer(self) -> None:
        size = self._file.size_bytes
        self._file.load([Span(max(0, size - _TAIL_BYTES), size)])
        self._file.seek(max(0, size - _END.size))
        tail = self._file.read(_END.size)
        footer_bytes, magic = _END.unpack(tail) if len(tail) == _END.size else (0, b"")
        if magic == _ENCRYPTED:
            raise InputError(f"{self.where} is encrypted; write it without encryption")
        if magic != _MAGIC or footer_bytes + len(_MAGIC) + _END.size > size:
            raise self._damaged("its footer is cut off")
        if footer_bytes > _MAX_FOOTER_BYTES:
            raise InputError(
                f"{self.where} has a footer of {footer_bytes} bytes, over {_MAX_FOOTER_BYTES}; "
                "write it with fewer row groups, or as several files"
            )
        if footer_bytes + _END.size > _TAIL_BYTES:
            self._file.load([Span(size - _END.size - footer_bytes, size)])

    def _load(self, names: Sequence[str], row_groups: range) -> None:
        """Read the column chunks, once it is sure that they fit into file and memory."""
        if row_groups.stop > self._metadata.num_row_groups:
            raise InputError(
                f"{self.where} has {self._metadata.num_row_groups} row groups, and the job reads "
                f"number {row_groups.stop - 1}; submit it again"
            )
        chunks = [
            (self._metadata.row_group(number).column(leaf), self._value_bytes(leaf))
            for number in row_groups
            for leaf in self._leaves(names)
        ]
        spans = [self._span(chunk) for chunk, _ in chunks]
        sizes = [
            sum(span.end_byte - span.first_byte for span in spans),
            sum(max(0, chunk.total_uncompressed_size) for chunk, _ in chunks),
            sum(max(0, chunk.num_values) * value_bytes for chunk, value_bytes in chunks),
        ]
        if max(sizes) > MAX_TABLE_BYTES:
            raise InputError(
                f"{self.where}: row groups {row_groups.start} to {row_groups.stop - 1} have "
                f"{max(sizes)} bytes, over {MAX_TABLE_BYTES}; write smaller ones"
            )
        self._file.load(spans)
        for (chunk, _), span in zip(chunks, spans, strict=True):
            claims = claimed_by_pages(self._file.part, *span, where=self.where)
            dictionary_count = claims.value_count - chunk.num_values
            most_bytes = chunk.total_uncompressed_size
            if claims.size_bytes > most_bytes or dictionary_count > most_bytes:
                raise self._damaged("its pages claim more than its footer")

    def _span(self, chunk: Any) -> Span:
        first = chunk.data_page_offset
        if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < first:
            first = chunk.dictionary_page_offset
        span = Span(first, first + chunk.total_compressed_size)
        if not 0 < span.first_byte <= span.end_byte <= self._file.size_bytes:
            raise self._damaged("a column lies beyond its end")
        return span

    def _value_bytes(self, leaf: int) -> int:
        """What a decoded value takes; text is in dictionaries."""
        column = self._metadata.schema.column(leaf)
        is_fixed = column.physical_type == "FIXED_LEN_BYTE_ARRAY"
        return int(column.length) if is_fixed else _NUMBER_BYTES

    def _leaves(self, names: Sequence[str]) -> list[int]:
        """Numbers of the physical columns of `names`."""
        wanted = set(names)
        return [
            leaf
            for leaf, path in enumerate(self._paths)
            if path in wanted or path.split(".", 1)[0] in wanted
        ]

    def _damaged(self, fact: str) -> InputError:
        return InputError(f"{self.where} is no whole Parquet file ({fact}); write it again")
