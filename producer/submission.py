"""Make a job of images: store them, write its manifest, enqueue its shards."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from fornada import keys
from fornada.arrays import Array
from fornada.coordination import Coordination
from fornada.errors import BrokerError, JobNotFoundError, UsageError
from fornada.job_manifest import JobManifest, Shards
from fornada.job_store import JobStore
from fornada.logs import get_logger
from fornada.messages import ShardMessage, now
from fornada.settings import Settings
from model_store.manifest import ModelManifest, ModelRef
from model_store.store import ModelStore
from producer.inputs import ItemBlock, blocks_of
from producer.references import StoredImages, shards_of
from producer.sender import Sender
from producer.sharding import Signature, cut, items_per_shard_for
from producer.upload import upload

log = get_logger(__name__)

#: Ten years; a calendar ends somewhere.
_MAX_DEADLINE_S = 10 * 365 * 24 * 3600.0

#: One array, a stream of them, or objects that are in the store already.
Images = Array | Iterable[Array] | Iterable[ItemBlock] | StoredImages


class Submitter:
    """Makes jobs exist and enqueues them."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        models: ModelStore,
        coordination: Coordination,
        sender: Sender,
        settings: Settings,
    ) -> None:
        self._jobs = jobs
        self._models = models
        self._coordination = coordination
        self._sender = sender
        self._settings = settings

    def submit(
        self,
        images: Images,
        *,
        model: str,
        item_ids: Sequence[str] | None,
        idempotency_key: str | None,
        items_per_shard: int | None,
        deadline_s: float | None,
        tags: Mapping[str, str] | None,
    ) -> JobManifest:
        """The manifest of the job that was made, or was there; as `Client.submit`."""
        if deadline_s is not None and not 0 < deadline_s <= _MAX_DEADLINE_S:
            raise UsageError(
                f"deadline_s is {deadline_s:g}; give seconds from now, at most {_MAX_DEADLINE_S:g}"
            )
        existing = self.existing(idempotency_key)
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
            task=manifest.task,
            classes=manifest.classes,
            shards=shards,
            max_attempts=self._settings.max_attempts,
            created_at=now(),
            deadline=None if deadline_s is None else submitted_at + timedelta(seconds=deadline_s),
            tags=dict(tags or {}),
        )
        return self.accept(job_manifest, new=existing is None)

    def existing(self, idempotency_key: str | None) -> JobManifest | None:
        """The job of this key, if there is one."""
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
    ) -> Shards:
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
        cuts = cut(blocks_of(images, item_ids), signature=signature, item_count=item_count)
        return Shards(upload(cuts, job_id=job_id, objects=self._jobs.objects, store=store))

    def accept(self, manifest: JobManifest, *, new: bool) -> JobManifest:
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
            self._sender.enqueue(ShardMessage(job_id=job_id, shard=shard) for shard in first)
        except BrokerError as exc:
            # The job is accepted: its manifest is stored, and the reconciler enqueues it.
            log.warning("job accepted, enqueued later", job_id=job_id, error=str(exc))


def _new_job_id() -> str:
    """A new id; ids sort by the time of submission."""
    return f"{now():%Y%m%dT%H%M%S}-{secrets.token_hex(5)}"
