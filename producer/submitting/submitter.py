"""Make a job of images: store them, write its manifest, enqueue its shards."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fornada import keys
from fornada.coordination.interface import OpenJobs
from fornada.errors import BrokerError, FornadaError, JobNotFoundError, UsageError
from fornada.jobs.ids import ContentAddressedManifest, is_generated_id, random_id, with_content_id
from fornada.jobs.manifest import JobManifest, Shards
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from fornada.queue.interface import Sender
from fornada.queue.message import MAX_BUNDLE, ShardMessage
from fornada.records import INLINE_VERSION, SCHEMA_VERSION, now
from fornada.settings import Settings
from model_store.manifest import ModelManifest, ModelRef
from model_store.store import ModelStore
from producer.inputs.blocks import blocks_of
from producer.inputs.stored_images import StoredImages, shards_of
from producer.submitting.resolver import Resolver
from producer.submitting.sharding import Shard, Signature, cut, items_per_shard_for
from producer.submitting.small_jobs import SmallJobs
from producer.submitting.submission import Options, Submission
from producer.submitting.upload import try_inline, upload

log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedSubmission:
    """A submission that was looked at, and of which nothing is stored yet."""

    submission: Submission
    #: The job that its key has already.
    existing: JobManifest | None
    model: ModelManifest
    #: What its shards read, where that is small, or in the store already.
    inputs: Shards | None
    #: Else its shards, to be uploaded.
    shards: Iterator[Shard]

    @property
    def is_small_and_new(self) -> bool:
        """Whether its id can be one that vouches for its content."""
        small = self.inputs is not None and self.inputs.are_inline
        return small and self.submission.idempotency_key is None


class Submitter:
    """Makes jobs exist and enqueues them."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        models: ModelStore,
        resolver: Resolver,
        coordination: OpenJobs,
        sender: Sender,
        settings: Settings,
    ) -> None:
        self._jobs = jobs
        self._models = models
        self._resolver = resolver
        self._coordination = coordination
        self._sender = sender
        self._settings = settings
        self._small_jobs = SmallJobs(
            jobs=jobs,
            coordination=coordination,
            sender=sender,
            queue=settings.queue,
            enqueue_window=settings.enqueue_window,
        )

    def submit(self, submission: Submission, options: Options) -> JobManifest:
        """The manifest of the job that was made, or was there; as `Client.submit`."""
        options.check()
        existing = self.existing(submission.idempotency_key)
        model = self.resolve(options.model, existing)
        prepared = self.prepare(submission, options, model=model, existing=existing)
        if not prepared.is_small_and_new:
            return self.finish(prepared, options)
        small = self.small_job(prepared, self.deadline(options))
        for error in self.accept_small([small]).values():
            raise error
        return small.manifest

    def existing(self, idempotency_key: str | None) -> JobManifest | None:
        """The job of this key, if there is one.

        Raises:
            UsageError: It cannot be a job's id, or has the form of those that are given.
        """
        if idempotency_key is None:
            return None
        keys.check_name("idempotency key", idempotency_key)
        if is_generated_id(idempotency_key):
            raise UsageError(
                f"idempotency key {idempotency_key!r} looks like an id that Fornada gave to a "
                "job; use a name of your own, such as an order's number"
            )
        try:
            return self._jobs.manifest(idempotency_key)
        except JobNotFoundError:
            return None

    def resolve(self, model: str, existing: JobManifest | None = None) -> ModelManifest:
        """The version that `model` means: now, or when the job that exists was submitted."""
        ref = ModelRef.parse(model)
        if existing is not None and ref.version is None and ref.name == existing.model.name:
            # The alias may have moved since; the caller asks for the job that he submitted.
            return self._models.verified_manifest(existing.model)
        return self._resolver.resolve(ref)

    def prepare(
        self,
        submission: Submission,
        options: Options,
        *,
        model: ModelManifest,
        existing: JobManifest | None,
    ) -> PreparedSubmission:
        """Look at the images, as far as it takes to see whether they are small.

        Raises:
            InputError: They do not fit the model.
            UsageError: An option makes no sense.
            StoreError: Objects that they are cannot be reached.
        """
        given, images = options.items_per_shard, submission.images
        signature = Signature(
            item_shape=model.item_shape, item_dtype=model.item_dtype, model=str(model)
        )
        item_count = items_per_shard_for(
            signature,
            items_per_shard=self._settings.items_per_shard if given is None else given,
            max_shard_bytes=self._settings.max_shard_bytes,
        )
        inputs: Shards | None
        shards: Iterator[Shard] = iter(())
        if isinstance(images, StoredImages):
            inputs = self._stored(submission, images, signature, item_count)
        else:
            blocks = blocks_of(images, submission.item_ids)
            # A job that has its inputs in objects is compared with one that does too.
            may_be_small = existing is None or existing.is_small
            inputs, shards = try_inline(
                cut(blocks, signature=signature, item_count=item_count),
                max_bytes=self._settings.max_inline_bytes if may_be_small else 0,
            )
        return PreparedSubmission(
            submission=submission, existing=existing, model=model, inputs=inputs, shards=shards
        )

    def deadline(self, options: Options) -> datetime | None:
        """When `deadline_s` from now is, by the broker's clock."""
        if options.deadline_s is None:
            return None
        return self._coordination.server_time() + timedelta(seconds=options.deadline_s)

    def small_job(
        self, prepared: PreparedSubmission, deadline: datetime | None
    ) -> ContentAddressedManifest:
        """The job of a submission that is small and new; it does not exist yet."""
        inputs = prepared.inputs or Shards([])
        manifest = self._manifest(prepared, job_id="new", inputs=inputs, deadline=deadline)
        return with_content_id(manifest.model_copy(update={"nonce": secrets.token_hex(8)}))

    def accept_small(self, small: Sequence[ContentAddressedManifest]) -> dict[str, FornadaError]:
        """Make small new jobs exist and enqueue them; what failed, by the job's id.

        Raises:
            BrokerError: None of them exists.
        """
        return self._small_jobs.accept(small)

    def finish(self, prepared: PreparedSubmission, options: Options) -> JobManifest:
        """Make the job of any submission, and first store its images if need be."""
        deadline = self.deadline(options)
        if prepared.inputs is None and deadline is None:
            # Without a broker there is no use in uploading.
            self._coordination.server_time()
        new = prepared.existing is None
        job_id = prepared.submission.idempotency_key or random_id()
        inputs = prepared.inputs
        if inputs is None:
            uploaded = upload(prepared.shards, job_id=job_id, objects=self._jobs.objects, store=new)
            inputs = Shards(uploaded)
        manifest = self._manifest(prepared, job_id=job_id, inputs=inputs, deadline=deadline)
        return self.create_and_enqueue(manifest, new=new)

    def create_and_enqueue(self, manifest: JobManifest, *, new: bool) -> JobManifest:
        """Make the job exist and enqueue it, unless one of that id does already.

        Args:
            manifest: The job.
            new: No job of that id is known.
        """
        # Listed first: from the manifest on, the reconciler must know of the job.
        self._coordination.open_job(manifest.job_id, new=new)
        accepted = self._jobs.create(manifest)
        if accepted is manifest:
            self.enqueue(manifest, range(len(manifest.shards)))
        return accepted

    def enqueue(self, manifest: JobManifest, shards: Sequence[int]) -> None:
        """Enqueue what the window has room for; the workers' reconciler enqueues the rest."""
        job_id = manifest.job_id
        try:
            queued = self._coordination.queue_length(self._settings.queue)
            first = shards[: max(0, self._settings.enqueue_window - queued)]
            self._coordination.mark_enqueued(job_id, first)
            self._sender.enqueue(
                (ShardMessage(job_id=job_id, shard=shard) for shard in first),
                together=MAX_BUNDLE if manifest.is_small else 1,
            )
        except BrokerError as exc:
            # The job is accepted: its manifest is stored, and the reconciler enqueues it.
            log.warning("job accepted, enqueued later", job_id=job_id, error=str(exc))

    def _stored(
        self,
        submission: Submission,
        images: StoredImages,
        signature: Signature,
        item_count: int,
    ) -> Shards:
        if submission.item_ids is not None:
            raise UsageError("item_ids go with one array; stored images go by their keys")
        found = shards_of(
            images,
            objects=self._jobs.objects,
            item_shape=signature.item_shape,
            item_dtype=signature.item_dtype,
            model=signature.model,
            items_per_shard=item_count,
            max_shard_bytes=self._settings.max_shard_bytes,
        )
        return Shards(found)

    def _manifest(
        self,
        prepared: PreparedSubmission,
        *,
        job_id: str,
        inputs: Shards,
        deadline: datetime | None,
    ) -> JobManifest:
        return JobManifest(
            schema_version=INLINE_VERSION if inputs.are_inline else SCHEMA_VERSION,
            job_id=job_id,
            model=prepared.model.pin,
            item_shape=prepared.model.item_shape,
            item_dtype=prepared.model.item_dtype,
            task=prepared.model.task,
            classes=prepared.model.classes,
            shards=inputs,
            max_attempts=self._settings.max_attempts,
            created_at=now(),
            deadline=deadline,
            tags=dict(prepared.submission.tags or {}),
        )
