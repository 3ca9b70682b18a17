"""A job's results in the store as files with rows, one a shard."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

from fornada.errors import UsageError
from producer.exporting.catalog import FORMATS
from producer.exporting.interface import Export


def write_by_shard(export: Export, *, fmt: str, put: Callable[[int, bytes], None]) -> int:
    """Write the results of each shard as a file; return how many there are.

    Args:
        export: The results, as for one file.
        fmt: A format with a row an item.
        put: Stores the file of a shard, replacing what was there.

    Raises:
        UsageError: The format has no rows, or two columns would have the same name.
        MissingExtraError: A package that the format needs is not installed.
        StoreError: The store cannot be reached or refuses.
    """
    if fmt not in FORMATS or not FORMATS[fmt].has_rows:
        having = ", ".join(name for name, each in FORMATS.items() if each.has_rows)
        raise UsageError(f"a file a shard has rows, and {fmt} has none; give {having}")
    count = 0
    for part in export.parts:
        file = BytesIO()
        FORMATS[fmt].write(replace(export, parts=[part], item_count=len(part.item_ids)), file)
        put(part.shard, file.getvalue())
        count += 1
    return count
