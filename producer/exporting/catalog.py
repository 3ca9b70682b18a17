"""The formats of exported results, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from producer.exporting.formats.arrow import write_arrow, write_parquet
from producer.exporting.formats.csv_file import write_csv
from producer.exporting.formats.jsonl import write_jsonl
from producer.exporting.formats.npy import npy_size_bytes, write_npy
from producer.exporting.formats.npz import write_npz
from producer.exporting.formats.safetensors_file import write_safetensors
from producer.exporting.interface import Format

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "npy": Format(write=write_npy, size_bytes=npy_size_bytes, ids_beside=True),
        "npz": Format(write=write_npz),
        "safetensors": Format(write=write_safetensors),
        "parquet": Format(write=write_parquet, has_rows=True),
        "arrow": Format(write=write_arrow, has_rows=True),
        "csv": Format(write=write_csv, is_text=True, has_rows=True, is_for_spreadsheets=True),
        "jsonl": Format(write=write_jsonl, is_text=True, has_rows=True),
    }
)
