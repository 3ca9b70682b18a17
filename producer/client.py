"""The client of other services: submit images, find jobs again. Needs no ML framework."""

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from fornada import keys
from fornada.arrays import Array
from fornada.coordination import Coordination
from fornada.errors import BrokerError, JobNotFoundError, MessageError, UsageError
from fornada.job_store import JobStore, in_parallel
from fornada.logs import get_logger
from fornada.messages import JobManifest, ShardInput, ShardMessage, now
from fornada.object_store import ObjectStore, S3ObjectStore
from fornada.redis_coordination import RedisCoordination
from fornada.settings import Settings
from model_store.manifest import ModelManifest, ModelRef
from model_store.store import ModelStore
from producer.backlog import Backlog, backlog_of
from producer.inputs import ItemBlock, blocks_of
from producer.job import Job
from producer.job_status import JobStatus
from producer.references import StoredImages, shards_of
from producer.retention import purge
from producer.retry import retry_of
from producer.sender import CelerySender, Sender
from producer.sharding import Signature, cut, items_per_shard_for
from producer.upload import upload
from producer.verification import Verification, compare, verification_of

log = get_logger(__name__)

#: Ten years; a calendar ends somewhere.
_MAX_DEADLINE_S = 10 * 365 * 24 * 3600.0

#: One array, a stream of them, or objects that are in the store already.
Images = Array | Iterable[Array] | Iterable[ItemBlock] | StoredImages


class Client:
    """Submits jobs and finds them again. Safe to share between threads.

    Example:
        >>> job = Client.from_env().submit(images, model="fashion-mnist@prod")
        >>> job.wait(timeout_s=60)
        >>> job.results().probabilities  # float32 [items, classes], in submission order
    """

    def __init__(
        self,
        *,
        objects: ObjectStore,
        coordination: Coordination,
        sender: Sender,
        settings: Settings,
    ) -> None:
        self._objects = objects
        self._jobs = JobStore(objects=objects, decide=coordination.decide)
        self._models = ModelStore(objects=objects)
        self._coordination = coordination
        self._sender = sender
        self._settings = settings

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Client":
        """A client of the deployment that `FORNADA_*` names; nothing is contacted yet.

        Raises:
            ConfigError: A variable is missing, wrong or unknown.
        """
        return cls.from_settings(Settings.from_env(os.environ if environ is None else environ))

    @classmethod
    def from_settings(cls, settings: Settings) -> "Client":
        """A client of the deployment that `settings` name; nothing is contacted yet."""
        return cls(
            objects=S3ObjectStore.from_settings(settings),
            coordination=RedisCoordination.from_settings(settings),
            sender=CelerySender.from_settings(settings),
            settings=settings,
        )

    def submit(
        self,
        images: Images,
        *,
        model: str,
        item_ids: Sequence[str] | None = None,
        idempotency_key: str | None = None,
        items_per_shard: int | None = None,
        deadline_s: float | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Job:
        """Submit images as a job; when this returns, the job will end, whatever crashes.

        Args:
            images: An array, item dtype [items, *item_shape] of the model (grey images with or
                without the last axis); or an iterable of such arrays, which is streamed and never
                held whole; or `StoredImages`, which are read where they lie.
            model: `name@alias`, `name:version`, or `name` for the newest version. The version is
                fixed now: an alias that moves later does not change the job.
            item_ids: One id an item, for a single array; left out, items are numbered.
            idempotency_key: Becomes the job's id. Submitting the same again returns the same job.
            items_per_shard: Items in one message; FORNADA_ITEMS_PER_SHARD if left out.
            deadline_s: Shards that have not begun so many seconds from now are not begun.
            tags: Kept with the job.

        Raises:
            InputError: The images do not fit the model.
            UsageError: An option makes no sense, or `model` is not a model reference.
            ModelNotFoundError: There is no such model, version or alias.
            JobConflictError: The idempotency key was used for other work.
            BrokerError, StoreError: Redis or the store cannot be reached. If that was while the
                manifest was written, the job may run; with an idempotency key, submit again.
        """
        if deadline_s is not None and not 0 < deadline_s <= _MAX_DEADLINE_S:
            raise UsageError(
                f"deadline_s is {deadline_s:g}; give seconds from now, at most {_MAX_DEADLINE_S:g}"
            )
        existing = self._existing(idempotency_key)
        manifest = self._resolve(model, existing)
        # Asked first: without a broker there is no use in uploading.
        submitted_at = self._coordination.server_time()
        job_id = idempotency_key or _new_job_id()
        shards = self._shards(
            images,
            manifest,
            job_id=job_id,
            item_ids=item_ids,
            items_per_shard=items_per_shard,
            store=existing is None,
        )
        job_manifest = JobManifest(
            job_id=job_id,
            model=manifest.pin,
            item_shape=manifest.item_shape,
            item_dtype=manifest.item_dtype,
            classes=manifest.classes,
            shards=shards,
            max_attempts=self._settings.max_attempts,
            created_at=now(),
            deadline=None if deadline_s is None else submitted_at + timedelta(seconds=deadline_s),
            tags=dict(tags or {}),
        )
        return self._accept(job_manifest, new=existing is None)

    def job(self, job_id: str) -> Job:
        """The job with this id, submitted by whomever.

        Raises:
            JobNotFoundError: There is none.
        """
        return self._as_job(self._jobs.manifest(keys.check_name("job id", job_id)))

    def jobs(self) -> list[JobStatus]:
        """How all jobs stand, the newest first."""
        found = in_parallel(self._status_of, self._jobs.job_ids())
        statuses = [status for status in found if status is not None]
        return sorted(statuses, key=lambda status: status.created_at, reverse=True)

    def backlog(self) -> Backlog:
        """What is still to be done of all jobs, in shards and in items.

        Raises:
            BrokerError, StoreError: Redis or the store cannot be reached.
        """
        return backlog_of(
            self._open_manifests(), coordination=self._coordination, sender=self._sender
        )

    def resume(self, job_id: str) -> Job:
        """Enqueue what the job still misses, now; the workers' reconciler would, in its time.

        Raises:
            JobNotFoundError: There is no such job.
            UsageError: It has ended.
            BrokerError, StoreError: Redis or the store cannot be reached.
        """
        job = self.job(job_id)
        final = self._jobs.final(job_id)
        if final is not None:
            raise UsageError(
                f"job {job_id} has ended {final.state}, which never changes; make a job of what "
                "it did not get done with retry_failed (`fornada jobs retry-failed`)"
            )
        self._coordination.open_job(job_id)
        missing = self._jobs.missing_shards(job.manifest)
        progress = self._coordination.progress(job_id)
        under_way = progress.running | progress.enqueued.keys()
        self._enqueue(job.manifest, [shard for shard in missing if shard not in under_way])
        return job

    def retry_failed(self, job_id: str) -> Job:
        """Make a job of the shards that an ended job did not get done; the images stay in place.

        Its id is the job's with `-retry` behind it, so that calling again finds the same job.
        Item ids and numbers stay those of the first job.

        Raises:
            JobNotFoundError: There is no such job.
            UsageError: It has not ended, or has no such shard.
            BrokerError, StoreError: Redis or the store cannot be reached.
        """
        manifest = retry_of(self.job(job_id).manifest, jobs=self._jobs)
        return self._accept(manifest, new=self._existing(manifest.job_id) is None)

    def verify(
        self, job_id: str, *, sample: int = 16, timeout_s: float | None = None
    ) -> Verification:
        """Run shards of an ended job once more, and compare what comes out, byte by byte.

        The same artifact, item, engine and tile give the same bytes on the same kind of machine,
        whatever the split, workers, threads and retries.

        Args:
            job_id: The job.
            sample: So many shards at most, the same ones each time.
            timeout_s: Give up waiting after this many seconds.

        Raises:
            JobNotFoundError: There is no such job.
            UsageError: It has not ended, or has no shard to run again.
            WaitTimeoutError: They have not run in time; they do nevertheless.
            JobFailedError: A shard could not be run again.
            BrokerError, StoreError: Redis or the store cannot be reached.
        """
        if sample < 1:
            raise UsageError(f"sample is {sample}; give a number of shards, at least 1")
        manifest = self.job(job_id).manifest
        again = verification_of(manifest, jobs=self._jobs, sample=sample)
        job = self._accept(again, new=True)
        job.wait(timeout_s)
        return compare(manifest, job.manifest, jobs=self._jobs)

    def purge(self, older_than: timedelta) -> list[str]:
        """Delete jobs that ended longer ago than `older_than`; return their ids.

        A job that has not ended is never deleted, nor one whose images an open retry reads. What a
        submission left behind that ended before there was a job goes after a day at least.

        Raises:
            StoreError: The store cannot be reached; call again to go on.
        """
        return purge(self._jobs, older_than=older_than)

    def model(self, model: str) -> ModelManifest:
        """What `model` (as in `submit`) takes and gives.

        Raises:
            ModelNotFoundError: There is no such model, version or alias.
        """
        return self._models.resolve(model)

    def _existing(self, idempotency_key: str | None) -> JobManifest | None:
        if idempotency_key is None:
            return None
        keys.check_name("idempotency key", idempotency_key)
        try:
            return self._jobs.manifest(idempotency_key)
        except JobNotFoundError:
            return None

    def _resolve(self, model: str, existing: JobManifest | None) -> ModelManifest:
        ref = ModelRef.parse(model)
        if existing is not None and ref.version is None and ref.name == existing.model.name:
            # The alias may have moved since; the caller asks for the job that he submitted.
            return self._models.pinned(existing.model)
        return self._models.resolve(ref)

    def _shards(
        self,
        images: Images,
        manifest: ModelManifest,
        *,
        job_id: str,
        item_ids: Sequence[str] | None,
        items_per_shard: int | None,
        store: bool,
    ) -> list[ShardInput]:
        signature = Signature(
            item_shape=manifest.item_shape, item_dtype=manifest.item_dtype, model=str(manifest)
        )
        item_count = items_per_shard_for(
            signature,
            items_per_shard=(
                self._settings.items_per_shard if items_per_shard is None else items_per_shard
            ),
            max_shard_bytes=self._settings.max_shard_bytes,
        )
        if isinstance(images, StoredImages):
            if item_ids is not None:
                raise UsageError("item_ids go with one array; stored images go by their keys")
            return shards_of(
                images,
                objects=self._objects,
                item_shape=signature.item_shape,
                item_dtype=signature.item_dtype,
                model=signature.model,
                items_per_shard=item_count,
                max_shard_bytes=self._settings.max_shard_bytes,
            )
        cuts = cut(blocks_of(images, item_ids), signature=signature, item_count=item_count)
        return list(upload(cuts, job_id=job_id, objects=self._objects, store=store))

    def _accept(self, manifest: JobManifest, *, new: bool) -> Job:
        """Make the job exist and enqueue it, unless one of that id does already."""
        # Listed first: from the manifest on, the reconciler must know of the job.
        self._coordination.open_job(manifest.job_id, new=new)
        accepted = self._jobs.create(manifest)
        if accepted is manifest:
            self._enqueue(manifest, range(len(manifest.shards)))
        return self._as_job(accepted)

    def _enqueue(self, manifest: JobManifest, shards: Sequence[int]) -> None:
        """Enqueue what the window has room for; the workers' reconciler enqueues the rest."""
        job_id = manifest.job_id
        try:
            queued = self._coordination.queue_length(self._settings.queue)
            first = shards[: max(0, self._settings.enqueue_window - queued)]
            self._coordination.mark_enqueued(job_id, first)
            self._sender.enqueue(ShardMessage(job_id=job_id, shard=shard) for shard in first)
        except BrokerError as exc:
            # The job is accepted: its manifest is stored, and the reconciler enqueues it.
            log.warning("job accepted, enqueued later", job_id=job_id, error=str(exc))

    def _open_manifests(self) -> Iterator[JobManifest]:
        job_ids = self._coordination.open_jobs()
        if job_ids is None:
            # Redis was emptied, and no reconciler has been through the store yet.
            known = self._jobs.job_ids()
            finals = in_parallel(self._jobs.final, known)
            job_ids = {j for j, final in zip(known, finals, strict=True) if final is None}
        for job_id in sorted(job_ids):
            # Listed before it exists, it may not exist yet.
            with contextlib.suppress(JobNotFoundError):
                yield self._jobs.manifest(job_id)

    def _status_of(self, job_id: str) -> JobStatus | None:
        try:
            return self._as_job(self._jobs.manifest(job_id)).status()
        except (JobNotFoundError, MessageError):  # never submitted, or not ours to read
            return None

    def _as_job(self, manifest: JobManifest) -> Job:
        return Job(manifest, jobs=self._jobs, coordination=self._coordination)


def _new_job_id() -> str:
    """A new id; ids sort by the time of submission."""
    return f"{now():%Y%m%dT%H%M%S}-{secrets.token_hex(5)}"
