"""Submissions become jobs: prepared, their inputs inlined or uploaded, created and enqueued."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from fornada.coordination.server_clock import ServerClock
from fornada.errors import FornadaError, PartlySubmittedError
from fornada.jobs.ids import random_id, with_content_id
from fornada.jobs.manifest import DEFAULT_TIME_TO_END, JobManifest
from fornada.jobs.shard_inputs import Shards
from fornada.parallel import in_context
from fornada.records import JOB_VERSION
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.tensors import manifest_fields
from fornada.trust.input_prefixes import InputPrefixes
from model_store.store import ModelStore
from producer.inputs.interface import Inputs
from producer.job import Job
from producer.submitting.creation import JobCreator
from producer.submitting.preparation import Preparation, PreparedSubmission
from producer.submitting.resolver import Resolver
from producer.submitting.submission import Options, Submission
from producer.submitting.upload import upload

#: Jobs with uploads that are submitted concurrently; each has upload threads of its own.
_UPLOADING_JOBS = 4

#: Number of a submission -> its job, or why there is none.
_Results = dict[int, JobManifest | FornadaError]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Times:
    """When a job is created, and when it ends at the latest, by the server's clock."""

    created_at: datetime
    deadline: datetime


class Submitter:
    """Submits: prepares all submissions, then creates a job of each."""

    def __init__(
        self,
        *,
        objects: ObjectStore,
        models: ModelStore,
        resolver: Resolver,
        clock: ServerClock,
        creator: JobCreator,
        settings: Settings,
        as_job: Callable[[JobManifest], Job],
    ) -> None:
        self._preparation = Preparation(
            objects=objects,
            prefixes=InputPrefixes.from_settings(settings),
            creator=creator,
            models=models,
            resolver=resolver,
            settings=settings,
        )
        self._creator = creator
        self._objects = objects
        self._clock = clock
        self._max_attempts = settings.max_attempts
        self._queue = settings.queue
        self._as_job = as_job

    def submit_many(
        self, submissions: Iterable[Submission | Inputs], options: Options
    ) -> list[Job]:
        """The job of each submission, in order; as `Client.submit_many`."""
        prepared = self._preparation.prepare(submissions, options)
        if prepared:
            self._creator.bucket.check_once()
        if not prepared:
            return []
        times = self._times(prepared, options)
        results = self._create_small(prepared, times) | self._create_others(prepared, times)
        return self._jobs_of([results[number] for number in range(len(prepared))])

    def _times(self, prepared: Sequence[PreparedSubmission], options: Options) -> _Times:
        """Now, and when `deadline_s` from now is."""
        delay_s = options.deadline_s
        # Without a broker there is no point in uploading, so it is asked then too.
        uploads = any(one.inputs is None for one in prepared)
        at = self._clock.asked() if delay_s is not None or uploads else self._clock.now()
        given = DEFAULT_TIME_TO_END if delay_s is None else timedelta(seconds=float(delay_s))
        return _Times(created_at=at, deadline=at + given)

    def _create_small(self, prepared: Sequence[PreparedSubmission], times: _Times) -> _Results:
        """Create the jobs whose inputs are inline and whose ids are derived from their content."""
        small = {
            number: with_content_id(
                self._manifest(
                    one, one.inputs, job_id="new", times=times, nonce=secrets.token_hex(8)
                )
            )
            for number, one in enumerate(prepared)
            if one.is_small_and_new and one.inputs is not None
        }
        failed = self._creator.create_and_enqueue_small(list(small.values()))
        return {n: failed.get(job.manifest.job_id, job.manifest) for n, job in small.items()}

    def _create_others(self, prepared: Sequence[PreparedSubmission], times: _Times) -> _Results:
        def create(number: int) -> JobManifest | FornadaError:
            try:
                return self._upload_and_create(prepared[number], times)
            except FornadaError as exc:
                return exc

        others = [number for number, one in enumerate(prepared) if not one.is_small_and_new]
        if len(others) == 1:
            # In the caller's thread: a stream may be bound to it.
            return {others[0]: create(others[0])}
        with ThreadPoolExecutor(_UPLOADING_JOBS) as pool:
            return dict(zip(others, pool.map(in_context(create), others), strict=True))

    def _upload_and_create(self, one: PreparedSubmission, times: _Times) -> JobManifest:
        job_id = one.submission.idempotency_key or random_id()
        new = one.existing is None
        inputs = one.inputs
        if inputs is None:
            inputs = Shards(upload(one.shards, job_id=job_id, objects=self._objects, store=new))
        manifest = self._manifest(one, inputs, job_id=job_id, times=times)
        return self._creator.create_and_enqueue(manifest, new=new)

    def _manifest(
        self,
        one: PreparedSubmission,
        inputs: Shards,
        *,
        job_id: str,
        times: _Times,
        nonce: str | None = None,
    ) -> JobManifest:
        # An existing job is compared with one that is written the same way.
        options = one.options
        of_version_3 = (options.max_failed, options.image, options.owner, options.webhook)
        asks_version_3 = any(option is not None for option in of_version_3)
        is_of_one = len(one.takes) == len(one.model.outputs) == 1
        is_old = is_of_one and not asks_version_3 and not inputs.need_version_3
        alike = one.existing is not None and is_old
        version = one.existing.schema_version if one.existing and alike else JOB_VERSION
        if options.admit is not None and one.existing is None:
            options.admit(sum(inputs.item_counts))
        return JobManifest(
            schema_version=version,
            job_id=job_id,
            model=one.model.pin,
            **manifest_fields(version, one.takes, one.model.outputs),
            table=one.table,
            shards=inputs,
            max_attempts=self._max_attempts,
            created_at=times.created_at,
            deadline=times.deadline,
            tags=dict(one.submission.tags or {}),
            nonce=nonce,
            max_failed=one.options.max_failed,
            queue=self._queue_of(one, version),
            owner=one.options.owner,
            webhook=one.options.webhook,
        )

    def _queue_of(self, one: PreparedSubmission, version: int) -> str | None:
        # One that was written without belongs to the default queue, and is compared with this.
        unnamed = one.existing is not None and one.existing.queue is None
        return None if version < JOB_VERSION or unnamed else self._queue

    def _jobs_of(self, results: Sequence[JobManifest | FornadaError]) -> list[Job]:
        errors = {n: each for n, each in enumerate(results) if isinstance(each, FornadaError)}
        jobs = [None if isinstance(each, FornadaError) else self._as_job(each) for each in results]
        if errors:
            number, first = next(iter(errors.items()))
            if len(errors) == len(results):
                raise first
            raise PartlySubmittedError(
                f"{len(errors)} of {len(results)} submissions failed; submissions[{number}]: "
                f"{first}",
                jobs=jobs,
                errors=errors,
            )
        return [job for job in jobs if job is not None]
