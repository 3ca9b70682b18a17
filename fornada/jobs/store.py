"""The objects of jobs: manifests, requests to cancel, outcomes and ends."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from fornada import keys
from fornada.coordination.interface import Decisions
from fornada.errors import JobConflictError, JobNotFoundError, MessageError, ObjectNotFoundError
from fornada.jobs.creation import conflict, first_created, work_of
from fornada.jobs.ids import ContentAddressedManifest, is_generated_id
from fornada.jobs.job_inputs import JobInputs
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import CancelRequest, EndState, JobFinal, ShardOutcome
from fornada.jobs.outcome_store import OutcomeStore
from fornada.jobs.summary import decided_end, end_with, misfit, proposal, summarise
from fornada.logs import get_logger
from fornada.parallel import in_parallel, in_parallel_if_slow
from fornada.records import MAX_SMALL_JSON_BYTES, now
from fornada.storage.checked_reads import read_bounded
from fornada.storage.interface import ObjectStore
from fornada.trust.input_prefixes import InputPrefixes

log = get_logger(__name__)

#: Ends decided in one step: few, so that each is written soon after the time that it states.
_ENDS_PER_STEP = 8


class JobStore(OutcomeStore):
    """Reads and writes the objects under `jobs/`; the store is the truth about every job."""

    def __init__(
        self,
        *,
        objects: ObjectStore,
        decisions: Decisions | None = None,
        prefixes: InputPrefixes | None = None,
    ) -> None:
        """Read and write through `objects`.

        Args:
            objects: The store.
            decisions: Needed to create or end jobs: a store that ignores conditions
                cannot tell which of two writers came first.
            prefixes: Where jobs may read what Fornada did not store; without any, nowhere.
        """
        super().__init__(objects=objects)
        self._decisions = decisions
        #: Reads what manifests name.
        self.inputs = JobInputs(objects=objects, prefixes=prefixes, manifest_of=self.manifest)

    def create(self, manifest: JobManifest) -> JobManifest:
        """Write the manifest if its id is new; otherwise return the existing one.

        Raises:
            JobConflictError: The id is taken by a job with other content.
        """
        key = keys.JobKeys(manifest.job_id).manifest
        is_new = is_generated_id(manifest.job_id)
        if not (is_new or self._decisions is None or self.objects.conditional_writes):
            manifest = first_created(manifest, decide=self._decisions.decide)
        if self._put_new(key, manifest.to_json(), is_new=is_new):
            return manifest
        existing = self.manifest(manifest.job_id)
        if work_of(existing) != work_of(manifest):
            raise conflict(manifest)
        return existing

    def create_named(self, named: ContentAddressedManifest) -> None:
        """Write a manifest under its content's id, which is new.

        Raises:
            JobConflictError: The id is taken after all.
        """
        key = keys.JobKeys(named.manifest.job_id).manifest
        if not self._put_new(key, named.text, is_new=True):
            raise conflict(named.manifest)

    def manifest(self, job_id: str) -> JobManifest:
        """The job's manifest.

        Raises:
            JobNotFoundError: No job has this id.
            MessageError: The object is no manifest, or another job's.
        """
        manifest = self._record(keys.JobKeys(job_id).manifest, JobManifest, job_id)
        if manifest is None:
            raise _not_found(job_id)
        return manifest

    def manifest_etag(self, job_id: str) -> str:
        """The store's name for the bytes of the job's manifest, which is not read.

        Raises:
            JobNotFoundError: No job has this id.
        """
        try:
            return self.objects.get(keys.JobKeys(job_id).manifest, max_bytes=1).etag
        except ObjectNotFoundError as exc:
            raise _not_found(job_id) from exc

    def require(self, job_id: str) -> None:
        """Check that the job exists, without reading its manifest.

        Raises:
            JobNotFoundError: No job has this id.
        """
        self.manifest_etag(job_id)

    def manifest_written_at(self, job_id: str) -> datetime | None:
        """When the job's manifest was written, by the store's clock, if there is one."""
        key = keys.JobKeys(job_id).manifest
        return next((info.modified_at for info in self.objects.list(key) if info.key == key), None)

    def job_ids(self) -> list[str]:
        """The ids of all jobs, sorted."""
        return sorted(self.objects.list_folders(keys.JOBS_PREFIX))

    def stored(self, job_ids: AbstractSet[str]) -> set[str]:
        """Those of these jobs that the store has an object of, by one listing of all jobs.

        Cheaper than a look at each, if others may have made up most of them.
        """
        return {job_id for job_id in self.job_ids() if job_id in job_ids}

    def missing_shards(self, manifest: JobManifest) -> list[int]:
        """The shards of the job that have no outcome, in order."""
        done = self._done(manifest)
        return [shard for shard in range(len(manifest.shards)) if shard not in done]

    def request_cancel(self, job_id: str, reason: str) -> None:
        """Record that the job is to be cancelled; the first request is kept."""
        request = CancelRequest(requested_at=now(), reason=reason)
        self.objects.put_if_absent(keys.JobKeys(job_id).control, request.to_json())

    def cancel_request(self, job_id: str) -> CancelRequest | None:
        """The request to cancel, if there is one."""
        key = keys.JobKeys(job_id).control
        try:
            data = read_bounded(self.objects, key, most_bytes=MAX_SMALL_JSON_BYTES)
            return CancelRequest.from_json(data, where=key)
        except ObjectNotFoundError:
            return None

    def end_of(self, manifest: JobManifest) -> JobFinal | None:
        """How the job ended, if it has.

        Raises:
            MessageError: What is there is no end, or that of a job of other shards.
        """
        final = self.final(manifest.job_id)
        if final is None:
            return None
        count = len(manifest.shards)
        counted = final.shards_ok + final.shards_dead + final.shards_missing
        last = max((last for _, last in final.outcome_ranges + final.dead_ranges), default=-1)
        if counted != count or last >= count:
            # Before anybody looks for the outcomes of millions.
            raise MessageError(
                f"the end of job {final.job_id} is of {max(counted, last + 1)} shards, and the job "
                f"has {count}; remove {keys.JobKeys(final.job_id).final}"
            )
        return final

    def finish_if_complete(self, manifest: JobManifest) -> JobFinal | None:
        """End the job if every shard has an outcome; return its end, if it has one."""
        known = self.final(manifest.job_id)
        if known is not None:
            return known
        shards = self._done(manifest)
        if len(shards) < len(manifest.shards):
            return None
        return self._finish(manifest, None, None, shards)

    def finish(
        self, manifest: JobManifest, state: EndState | None, reason: str | None = None
    ) -> JobFinal | None:
        """End the job with the outcomes it has; return its end, which may be an earlier one.

        `None`: another process may be about to write one; try again.

        Args:
            manifest: The job's manifest.
            state: `None` for SUCCEEDED, PARTIAL or FAILED, as the outcomes say.
            reason: Why, unless it is SUCCEEDED.

        Raises:
            JobNotFoundError: The store has no such job.
            JobConflictError: The store has another job of this id.
        """
        known = self.final(manifest.job_id)
        if known is not None:
            return known
        return self._finish(manifest, state, reason, self._done(manifest))

    def commit_ends(
        self, computed: Sequence[tuple[JobManifest, ShardOutcome]]
    ) -> Iterator[JobFinal | JobNotFoundError | MessageError | None]:
        """Commit the outcomes of jobs of one shard each, each as part of its job's end.

        Args:
            computed: By first attempts, as Redis knew when they began.

        Yields:
            How each job ended, perhaps by another process; the error of a job that the store does
            not have, or whose end is damaged; `None` where Redis has forgotten the job meanwhile,
            so that its outcome is to be committed like any other.
        """
        for start in range(0, len(computed), _ENDS_PER_STEP):
            some = computed[start : start + _ENDS_PER_STEP]
            # Whatever Redis says of these jobs, and whoever signed their manifests.
            job_ids = [manifest.job_id for manifest, _ in some]
            known = list(in_parallel_if_slow(self._known_end, job_ids))
            open_ones = [each for each, end in zip(some, known, strict=True) if end is None]
            ended = iter(self._commit_open(open_ones))
            yield from (next(ended) if end is None else end for end in known)

    def _known_end(self, job_id: str) -> JobFinal | JobNotFoundError | MessageError | None:
        """What keeps a job from being ended, as the store says."""
        job = keys.JobKeys(job_id)
        # A store that decides finds an earlier end when the new one is written. Elsewhere, a
        # listing costs as much as a read, and tells of both.
        if not self.objects.conditional_writes:
            found = {info.key for info in self.objects.list(job.prefix)}
            if job.final in found:
                return _or_damaged(lambda: self.final(job_id))
            if job.manifest in found:
                return None
        try:
            self.require(job_id)
        except JobNotFoundError as exc:
            return exc
        return None

    def _commit_open(
        self, computed: Sequence[tuple[JobManifest, ShardOutcome]]
    ) -> Iterator[JobFinal | MessageError | None]:
        finals = [
            end_with(manifest, outcome.model_copy(update={"committed_at": now()}))
            for manifest, outcome in computed
        ]
        texts = [final.to_json() for final in finals]
        proposed = {
            final.job_id: proposal(manifest, text)
            for (manifest, _), final, text in zip(computed, finals, texts, strict=True)
        }
        answers = proposed
        if self._decisions is not None and not self.objects.conditional_writes:
            # While a job is open and counted, each of its ends is decided there.
            answers = self._decisions.decide_ends(proposed, only_counted=True)

        def put(number: int) -> JobFinal | MessageError | None:
            manifest, end, text = computed[number][0], finals[number], texts[number]
            answer = answers.get(end.job_id)
            if answer != proposed[end.job_id]:
                decided = decided_end(answer, manifest)
                if decided is None:
                    return None
                end, text = decided, decided.to_json()
            return _or_damaged(lambda: self._put_end(end, text))

        return in_parallel_if_slow(put, range(len(computed)))

    def delete(self, job_id: str) -> None:
        """Delete everything of the job; after an interruption, call again."""
        manifest, final = keys.JobKeys(job_id).manifest, keys.JobKeys(job_id).final
        below = [info.key for info in self.objects.list(keys.JobKeys(job_id).prefix)]
        for _ in in_parallel(self.objects.delete, [k for k in below if k not in {manifest, final}]):
            pass
        # The manifest last: without it, the job could not be found again.
        self.objects.delete(final)
        self.objects.delete(manifest)

    def _done(self, manifest: JobManifest) -> dict[int, str]:
        """The shards with outcomes, and the ETags of these."""
        return self.outcome_etags(manifest.job_id, shard_count=len(manifest.shards))

    def _finish(
        self,
        manifest: JobManifest,
        state: EndState | None,
        reason: str | None,
        shards: Mapping[int, str],
    ) -> JobFinal | None:
        job_id, key = manifest.job_id, keys.JobKeys(manifest.job_id).final
        if self.manifest(job_id) != manifest:
            raise JobConflictError(
                f"job {job_id!r} was purged and submitted again with other content; look it up anew"
            )
        unreadable: list[MessageError] = []

        def fitting() -> Iterator[ShardOutcome]:
            found = self.outcomes(job_id, shards, on_unreadable=unreadable.append)
            for outcome in found:
                why = misfit(outcome, manifest.shards.item_counts[outcome.shard])
                if why is None:
                    yield outcome
                else:
                    unreadable.append(MessageError(why))

        final = summarise(manifest, fitting(), state, reason)
        if unreadable and state is None:
            # They stay what they are: without an end, the job would wait for ever.
            count = f"{len(unreadable)} of {len(manifest.shards)}"
            why = f"{count} outcomes cannot be read: {unreadable[0]}"
            final = final.model_copy(update={"state": "FAILED", "reason": why[:2000]})
        if self._decisions is not None and not self.objects.conditional_writes:
            # Every writer from now on writes the same.
            own = proposal(manifest, final.to_json())
            answer = self._decisions.decide_ends({job_id: own}).get(job_id)
            if answer is None:
                return None
            if answer != own:
                final = decided_end(answer, manifest) or final
        if self.objects.put_if_absent(key, final.to_json()):
            return final
        return self.final(job_id) or final

    def _put_end(self, final: JobFinal, text: bytes) -> JobFinal | None:
        key = keys.JobKeys(final.job_id).final
        if self._put_new(key, text, is_new=True):
            return final
        return self.final(final.job_id)

    def _put_new(self, key: str, data: bytes, *, is_new: bool) -> bool:
        """Write, and return whether `key` was free; `is_new`: it certainly is.

        A store that honours conditions is asked anyway, at no cost.
        """
        if is_new and not self.objects.conditional_writes:
            self.objects.put(key, data)
            return True
        return self.objects.put_if_absent(key, data)


def _or_damaged(end: Callable[[], JobFinal | None]) -> JobFinal | MessageError | None:
    """The end, or the error of one that is damaged, which keeps no other job from ending."""
    try:
        return end()
    except MessageError as exc:
        return exc


def _not_found(job_id: str) -> JobNotFoundError:
    error = JobNotFoundError(f"no job {job_id!r}; `fornada jobs list` shows those that exist")
    return error.with_public_text(f"no job {job_id!r}; GET /v1/jobs lists yours")
