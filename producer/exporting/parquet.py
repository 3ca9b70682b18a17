"""Results as Parquet."""

from collections.abc import Iterable
from typing import IO

from fornada.errors import MissingExtraError
from producer.exporting.rows import Rows
from producer.results import ShardResult


def _write_parquet(parts: Iterable[ShardResult], file: IO[bytes], rows: Rows) -> None:
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional package
        from pyarrow import parquet  # noqa: PLC0415 - optional package
    except ImportError as exc:
        raise MissingExtraError(
            "parquet needs pyarrow, which is not installed; pip install 'fornada[parquet]'"
        ) from exc
    schema = pa.schema(rows.parquet_fields(pa))
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in parts:
            columns = rows.parquet_columns(part, pa)
            writer.write_table(pa.table(columns, schema=schema))
