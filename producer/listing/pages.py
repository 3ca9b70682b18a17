"""Jobs a page at a time, newest first; new jobs move no page."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from fornada import keys
from fornada.coordination.interface import NEWEST_JOBS
from fornada.coordination.job_index.interface import JobIndex, Position
from fornada.errors import JobNotFoundError, MessageError
from fornada.jobs.ids import submitted_at
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobState
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from fornada.parallel import in_parallel
from fornada.records import now
from producer.job import Job
from producer.job_status import JobStatus, unreadable_status

log = get_logger(__name__)

#: Jobs that are looked at for one page, which may be short or empty for that.
_MOST_EXAMINED = 1000
_LEAST_AT_A_TIME = 16
#: A job that is listed so long before its manifest is written was never submitted.
_NEVER_SUBMITTED = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """Which jobs are wanted; `None` for any."""

    owner: str | None = None
    state: str | None = None
    #: `name` or `name:version`.
    model: str | None = None
    #: A tag's name and value.
    tag: tuple[str, str] | None = None
    queue: str | None = None

    @property
    def takes_unreadable(self) -> bool:
        """Whether jobs are wanted of which nothing can be read."""
        asked = (self.model, self.tag, self.queue)
        return self.state in {None, JobState.UNREADABLE} and asked == (None, None, None)

    def takes_manifest(self, manifest: JobManifest) -> bool:
        """Whether a job is wanted, whatever its state."""
        if self.tag is not None and manifest.tags.get(self.tag[0]) != self.tag[1]:
            return False
        return (
            self.owner in {None, manifest.owner}
            and self.model in {None, manifest.model.name, str(manifest.model)}
            and self.queue in {None, manifest.queue_name}
        )


class FoundJob(NamedTuple):
    """A job and its state now."""

    #: `None` of a job that is UNREADABLE.
    manifest: JobManifest | None
    status: JobStatus


class JobPage(NamedTuple):
    """Some jobs, newest first."""

    jobs: list[FoundJob]
    #: Where the next page begins; `None` after the last one.
    next_before: Position | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPages:
    """Finds the newest jobs of an owner, or of all."""

    jobs: JobStore
    index: JobIndex
    as_job: Callable[[JobManifest], Job]
    #: Reads a manifest, as `JobStore.manifest`.
    manifest_of: Callable[[str], JobManifest]

    def page(self, wanted: JobFilter, *, before: Position | None, limit: int) -> JobPage:
        """At most `limit` jobs older than `before`.

        A page may be short, or even empty, while there are more: no more than a thousand jobs are
        looked at for one.

        Raises:
            BrokerError, StoreError: Redis or the store cannot be reached.
        """
        found: list[FoundJob] = []
        examined, last = 0, before
        at_a_time = max(limit, _LEAST_AT_A_TIME)
        while examined < _MOST_EXAMINED:
            places = self._before(last, wanted.owner, at_a_time + 1)
            some = places[:at_a_time]
            looked_at = in_parallel(lambda place: self._look(place, wanted), some)
            for number, (last, each) in enumerate(zip(some, looked_at, strict=True), 1):
                found += [] if each is None else [each]
                if len(found) == limit:
                    return JobPage(found, last if number < len(places) else None)
            examined += len(some)
            if len(places) == len(some):
                return JobPage(found, None)
        return JobPage(found, last)

    def _before(self, before: Position | None, owner: str | None, count: int) -> list[Position]:
        listed = self.index.jobs_before(before, owner=owner, count=count)
        if listed is None and owner is not None:
            self._restore_owners()
            listed = self.index.jobs_before(before, owner=owner, count=count)
        if listed is None:
            # Redis was emptied, and no reconciler has listed the store yet.
            places = (place for place, of in self._newest() if owner in {None, of})
            listed = sorted(place for place in places if before is None or place < before)
            listed = listed[: -count - 1 : -1]
        return listed

    def _look(self, place: Position, wanted: JobFilter) -> FoundJob | None:
        # Others may have put there what is no id.
        if not keys.is_name(place.job_id):
            return None
        try:
            manifest = self.manifest_of(place.job_id)
        except MessageError as exc:
            log.warning("listed job not readable", job_id=place.job_id, error=str(exc))
            if not wanted.takes_unreadable:
                return None
            return FoundJob(None, unreadable_status(place.job_id, str(exc), created_at=place.at))
        except JobNotFoundError:
            if wanted.owner is not None and _age(place) > _NEVER_SUBMITTED:
                self.index.forget_owned(wanted.owner, place.job_id)
            return None
        if not wanted.takes_manifest(manifest):
            return None
        status = self.as_job(manifest).status()
        return FoundJob(manifest, status) if wanted.state in {None, status.state} else None

    def _restore_owners(self) -> None:
        """List the jobs of every owner, as the store has them."""
        owned: dict[str, dict[str, datetime]] = {}
        for place, owner in self._newest():
            if owner is not None:
                owned.setdefault(owner, {})[place.job_id] = place.at
        self.index.restore_owned(owned)
        log.info("jobs listed by owner from the store", owners=len(owned))

    def _newest(self) -> Iterator[tuple[Position, str | None]]:
        """The newest jobs, and all whose ids do not say when they came; with their owners."""
        job_ids = self.jobs.job_ids()
        generated = [job_id for job_id in job_ids if submitted_at(job_id) is not None]
        own = sorted(set(job_ids) - set(generated))
        for found in in_parallel(self._placed, [*own, *generated[-NEWEST_JOBS:]]):
            if found is not None:
                yield found

    def _placed(self, job_id: str) -> tuple[Position, str | None] | None:
        try:
            manifest = self.jobs.manifest(job_id)
        except JobNotFoundError:
            return None
        except MessageError:
            # Whose it is, it does not say.
            at = self.jobs.manifest_written_at(job_id)
            return None if at is None else (Position.of(job_id, at), None)
        return Position.of(job_id, manifest.created_at), manifest.owner


def _age(place: Position) -> timedelta:
    return now() - place.at
