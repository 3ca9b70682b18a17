"""Columns of the table that a job was made of, beside its results."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fornada.errors import InputError, UsageError
from fornada.formats.tables.arrow import arrow
from fornada.formats.tables.binding import missing_column
from fornada.jobs.manifest import JobManifest
from fornada.jobs.table_items import row_columns
from fornada.records import ObjectRef
from producer.inputs.tables.interface import Table

_BATCH_ROWS = 8192


def carried_columns(
    manifest: JobManifest,
    names: Sequence[str],
    *,
    fetch: Callable[[ObjectRef], bytes],
    tables: Sequence[Table] = (),
) -> Iterator[Any]:
    """The columns `names` of a job's items: a `pyarrow.Table` a shard, in order.

    Of a table in the store they are read from its row groups; any other table is read again, and
    its rows are found by their numbers.

    Args:
        manifest: The job's.
        names: The columns.
        fetch: Gives the checked bytes of an object, as `JobInputs.read`.
        tables: The files that the job was submitted from, in order, unless they are in the store.

    Raises:
        UsageError: The items are not rows of a stored table, and no table is given.
        InputError: There is no such column, or the table has other rows than the job.
        IntegrityError, ObjectNotFoundError: The table has changed, or is gone.
        StoreError: The store cannot be reached.
    """
    names = list(dict.fromkeys(names))
    if not tables:
        for shard in manifest.shards:
            if shard.format != "parquet":
                raise UsageError(
                    f"the items of job {manifest.job_id} are no table in the store; name the file "
                    "that they came from"
                )
            yield row_columns(shard, names, fetch=fetch)
        return
    for table in tables:
        for name in names:
            if name not in table.column_types:
                raise missing_column(name, table.column_types, where=table.where)
    rows = _Rows(tables, names)
    for first, shard in zip(manifest.shards.first_items, manifest.shards, strict=True):
        positions = shard.positions
        part = rows.part(first, first + positions[-1] + 1)
        yield part if shard.selected is None else part.take(list(positions))
    rows.check_end(manifest)


class _Rows:
    """The rows of tables, of which a shard's are in memory."""

    def __init__(self, tables: Sequence[Table], names: Sequence[str]) -> None:
        self._batches = (
            arrow().Table.from_batches([batch.select(names)])
            for table in tables
            for batch in table.batches(names, row_count=_BATCH_ROWS)
        )
        self._where = tables[0].where
        self._first = 0
        self._held: list[Any] = []
        self._held_count = 0

    def part(self, first: int, end: int) -> Any:
        """Rows from `first` to before `end`, of which none is before those of the last call."""
        while self._first + self._held_count < end:
            batch = next(self._batches, None)
            if batch is None:
                count = self._first + self._held_count
                raise InputError(
                    f"{self._where} has {count} rows, and the job {end} or more; name the file "
                    "that it was submitted from"
                )
            self._held.append(batch)
            self._held_count += batch.num_rows
            while self._held and self._first + self._held[0].num_rows <= first:
                self._first += self._held[0].num_rows
                self._held_count -= self._held.pop(0).num_rows
        held = arrow().concat_tables(self._held)
        return held.slice(first - self._first, end - first)

    def check_end(self, manifest: JobManifest) -> None:
        """Check that nothing is left, unless the job has some of the rows alone."""
        last = manifest.shards[len(manifest.shards) - 1]
        end = manifest.shards.first_items[-1] + last.positions[-1] + 1
        more = next(self._batches, None) is not None or self._first + self._held_count > end
        if more and manifest.source_job is None:
            raise InputError(
                f"{self._where} has more than {end} rows, which the job has; name the file that it "
                "was submitted from"
            )
