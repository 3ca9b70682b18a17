"""What is in a job: its results, its failed items, its shards."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any, NamedTuple, TypeVar

from fornada import keys
from fornada.coordination.interface import FollowedJobs, Progress
from fornada.coordination.notices.interface import Notices
from fornada.errors import (
    JobFailedError,
    JobNotFinishedError,
)
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal, ShardOutcome
from fornada.jobs.store import JobStore
from fornada.jobs.summary import OutcomesDigest
from fornada.logs import get_logger
from fornada.parallel import in_parallel
from fornada.ranges import from_ranges
from producer.exporting.by_shard import write_by_shard
from producer.exporting.carried import with_carried
from producer.exporting.interface import Export
from producer.exporting.rows import Column
from producer.following.looking import JobLooks
from producer.following.queues import Queues
from producer.inputs.interface import LocalFiles
from producer.inputs.paths import find_files
from producer.inputs.tables.carried import carried_columns
from producer.inputs.tables.local import open_tables
from producer.item_results import ShardResult
from producer.listing.shards import ShardPage, ShardState, ended_states, open_states, shard_page
from producer.results import Results
from producer.shard_reader import Found, ShardReader

log = get_logger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadShard:
    """A shard that will not be tried again, and why; `retry_failed` submits it anew."""

    shard: int
    first_item: int
    item_count: int
    #: `input`: missing, changed or unfit. `crash-loop`: it crashed its workers.
    reason: str
    detail: str


class FailedItem(NamedTuple):
    """An item without a result."""

    #: Its number in the job.
    item: int
    item_id: str
    reason: str


class JobReader:
    """What is in a job; every call asks the store."""

    def __init__(
        self, manifest: JobManifest, *, jobs: JobStore, coordination: FollowedJobs, queues: Queues
    ) -> None:
        self.manifest = manifest
        self._jobs = jobs
        self._coordination = coordination
        self._queues = queues

    @property
    def id(self) -> str:
        """The job's id; `Client.job(id)` finds it again, in any process."""
        return self.manifest.job_id

    @property
    def item_count(self) -> int:
        """Items in all shards."""
        return self.manifest.item_count

    @property
    def allows_failed_items(self) -> bool:
        """Whether its submitter said how many items may fail."""
        return self.manifest.max_failed is not None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def results(self, *, partial: bool = False) -> Results:
        """The results of all items, in memory, in the order of submission.

        Args:
            partial: Accept a job that is open, or ended FAILED, CANCELLED or EXPIRED. Rows
                without a result are NaN, zeros in dtypes that have none, or empty; `ok` is false
                there, and `errors` says why.

        Raises:
            JobNotFinishedError: The job has not ended, and `partial` is false.
            JobFailedError: It ended FAILED, CANCELLED or EXPIRED, and `partial` is false.
            IntegrityError: Stored bytes differ from those that were committed, outcomes from those
                that the job ended with, or dtype or shape from those of the model's outputs.
            UsageError: They are larger than memory; read `shard_results`.
        """
        return Results.of(self.manifest, self.shard_results(partial=partial))

    def shard_results(self, *, partial: bool = False) -> Iterator[ShardResult]:
        """The results shard by shard, in the order of submission, for jobs larger than memory.

        The last shard comes only if all outcomes are those that the job ended with.

        Raises:
            JobNotFinishedError, JobFailedError, IntegrityError: As `results`.
        """
        final = self._jobs.end_of(self.manifest)
        shards, why_missing = self._readable_shards(final, partial=partial)

        def found(shard: int) -> Found:
            if shard not in shards:
                return Found(shard, None, why_missing)
            return Found(shard, self._outcome(shard, final))

        every = range(len(self.manifest.shards))
        read = ShardReader(self.manifest, jobs=self._jobs).results(in_parallel(found, every))
        return _verified(read, len(every), final)

    def carried_columns(
        self, names: Sequence[str], *, paths: Sequence[PathLike[str]] = ()
    ) -> Iterator[Any]:
        """Columns of the table that the items came from: a `pyarrow.Table` a shard, in order.

        Args:
            names: The columns.
            paths: The files that the job was submitted from, whose rows are found by number; none
                for a table in the store.

        Raises:
            UsageError: The items are not rows of a table in the store, and there are no paths.
            InputError: There is no such column, or the table has other rows than the job.
            IntegrityError, ObjectNotFoundError: The table has changed, or is gone.
            StoreError: The store cannot be reached.
        """
        files = find_files(LocalFiles(paths=list(paths)), strict=True) if paths else []
        return carried_columns(
            self.manifest,
            names,
            fetch=partial(self._jobs.inputs.read, self.manifest),
            tables=open_tables(files),
        )

    def store_results(
        self,
        fmt: str = "parquet",
        *,
        top_k: int | None = None,
        columns: Sequence[str] = (),
        paths: Sequence[PathLike[str]] = (),
        partial: bool = False,
    ) -> str:
        """Write the results into the store, a file a shard; return the prefix of their keys.

        One shard is in memory at a time. `Client.purge` deletes the files with the job.

        Args:
            fmt: A format with a row an item, as of `fornada jobs results`.
            top_k: How many of the likeliest classes to list; 3 by default.
            columns: Columns of the table that the items came from, beside the results.
            paths: As in `carried_columns`.
            partial: As in `shard_results`.

        Raises:
            UsageError: The format has no rows, or two columns would have the same name.
            JobFailedError, JobNotFinishedError: As `shard_results`.
            MissingExtraError: A package that the format needs is not installed.
            StoreError: The store cannot be reached or refuses.
        """
        parts: Iterable[ShardResult] = self.shard_results(partial=partial)
        carried: tuple[Column, ...] = ()
        if columns:
            carried, parts = with_carried(parts, self.carried_columns(columns, paths=paths))
        export = Export(
            parts=parts,
            item_count=self.manifest.item_count,
            gives=self.manifest.gives,
            model=str(self.manifest.model),
            top_k=top_k,
            carried=carried,
        )
        job, objects = keys.JobKeys(self.id), self._jobs.objects
        write_by_shard(
            export, fmt=fmt, put=lambda shard, data: objects.put(job.results(shard, fmt), data)
        )
        return job.results_prefix(fmt)

    def item_errors(self) -> Iterator[FailedItem]:
        """The failed items, in order, and why; of an open job, those that failed so far.

        Raises:
            StoreError: The store cannot be reached.
            IntegrityError: Stored ids differ from those that were submitted, or outcomes from those
                that the job ended with.
        """
        final = self._jobs.end_of(self.manifest)
        shards, _ = self._readable_shards(final, partial=True)
        starts, reader = self.manifest.shards.starts, ShardReader(self.manifest, jobs=self._jobs)

        def failed(shard: int) -> tuple[ShardOutcome | None, list[FailedItem]]:
            found = Found(shard, self._outcome(shard, final))
            errors = reader.errors(found)
            ids, first = reader.item_ids(shard) if errors else [], starts[shard]
            items = [FailedItem(first + n, ids[n], why) for n, why in sorted(errors.items())]
            return found.outcome, items

        for items in _verified(in_parallel(failed, sorted(shards)), len(shards), final):
            yield from items

    def dead_shards(self) -> Iterator[DeadShard]:
        """The dead shards, in order; of an open job, those that Redis knows of.

        Raises:
            StoreError: The store cannot be reached.
        """
        final = self._jobs.end_of(self.manifest)
        shards = from_ranges(final.dead_ranges) if final else sorted(self.progress().dead)
        starts = self.manifest.shards.starts
        for outcome in in_parallel(lambda shard: self._outcome(shard, final), shards):
            if outcome is not None and outcome.status == "dead":
                yield DeadShard(
                    shard=outcome.shard,
                    first_item=starts[outcome.shard],
                    item_count=outcome.item_count,
                    reason=outcome.reason or "",
                    detail=outcome.detail or "",
                )

    def shards(
        self, state: ShardState | None = None, *, first: int = 0, limit: int = 100
    ) -> ShardPage:
        """At most `limit` of its shards, from number `first` on, of one state if that is given.

        Raises:
            StoreError: The store cannot be reached.
        """
        return shard_page(
            self.manifest,
            self.shard_states(),
            jobs=self._jobs,
            wanted=state,
            first=first,
            limit=limit,
        )

    def shard_states(self) -> dict[int, ShardState]:
        """Shard -> its state now, of all shards."""
        final = self._jobs.end_of(self.manifest)
        if final is not None:
            return ended_states(self.manifest, final)
        return open_states(self.manifest, self.progress())

    def _outcome(self, shard: int, final: JobFinal | None) -> ShardOutcome | None:
        if final is None:
            return self._jobs.outcome(self.id, shard)
        return self._jobs.counted_outcome(final, shard)

    def progress(self) -> Progress:
        """The open job's progress: as counted by Redis, otherwise from a listing of the store.

        Raises:
            StoreError: The store cannot be reached.
        """
        return self.looks().progress()

    def looks(self) -> JobLooks:
        """Looks at the job, for whoever follows it; some cost the store nothing."""
        return JobLooks(
            self.manifest, jobs=self._jobs, open_jobs=self._coordination, queues=self._queues
        )

    @property
    def notices(self) -> Notices:
        """Notices that it is time to look."""
        return self._coordination

    def _outcome_shards(self) -> set[int]:
        return self._jobs.outcome_shards(self.id, shard_count=len(self.manifest.shards))

    def _readable_shards(self, final: JobFinal | None, *, partial: bool) -> tuple[set[int], str]:
        """The shards whose outcomes count, and why those of others do not."""
        if final is None:
            if not partial:
                raise JobNotFinishedError(
                    f"job {self.id} has not ended; wait for it, or ask for `partial` results"
                )
            return self._outcome_shards(), "the job has not ended"
        if final.state not in {"SUCCEEDED", "PARTIAL"} and not partial:
            remedy = "no item has a result"
            if final.items_ok:
                count = f"{final.items_ok} of {self.manifest.item_count}"
                remedy = f"ask for `partial` results to read the {count} items that have one"
            raise JobFailedError(f"job {self.id} ended {final.state}: {final.reason}; {remedy}")
        return set(from_ranges(final.outcome_ranges)), f"the job ended {final.state}"


def _verified(
    found: Iterable[tuple[ShardOutcome | None, _T]], count: int, final: JobFinal | None
) -> Iterator[_T]:
    """What was read with each of `count` outcomes, the last once all are those of the end."""
    digest = OutcomesDigest()
    for number, (outcome, read) in enumerate(found, 1):
        if outcome is not None:
            digest.add(outcome)
        if final is not None and number == count:
            digest.check(final)
        yield read
    if final is not None and not count:
        digest.check(final)
