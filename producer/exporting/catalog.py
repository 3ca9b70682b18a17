"""The formats of exported results, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from fornada.errors import UsageError
from producer.exporting.csv_file import CsvFormat
from producer.exporting.interface import Format
from producer.exporting.jsonl import JsonLinesFormat
from producer.exporting.npy import NpyFormat
from producer.exporting.parquet import ParquetFormat

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "npy": NpyFormat(),
        "parquet": ParquetFormat(),
        "csv": CsvFormat(),
        "jsonl": JsonLinesFormat(),
    }
)


def format_named(name: str) -> Format:
    """The format with this name.

    Raises:
        UsageError: There is none.
    """
    if name not in FORMATS:
        raise UsageError(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name]
