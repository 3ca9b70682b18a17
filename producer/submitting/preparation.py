"""Check submissions before anything is stored, and tell which are small."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fornada import keys
from fornada.errors import DuplicateIdError, InputError, UsageError
from fornada.formats.tables.binding import TableBinding
from fornada.jobs.ids import is_generated_id
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import Shards
from fornada.parallel import in_parallel
from fornada.records import MAX_SHARDS
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.tensors import InputTensor
from fornada.trust.input_prefixes import InputPrefixes
from model_store.manifest import ModelManifest, ModelRef
from model_store.store import ModelStore
from producer.inputs.data.streams import are_files, blocks_of
from producer.inputs.interface import Inputs, LocalFiles, Signature, StoredImages, StoredUpload
from producer.inputs.local_files import read_blocks
from producer.inputs.tables.interface import NO_TABLE_OPTIONS
from producer.inputs.tables.stored import url_fetcher
from producer.inputs.uploads import Uploads
from producer.submitting.creation import JobCreator
from producer.submitting.resolver import Resolver
from producer.submitting.sharding import cut, items_per_shard_for
from producer.submitting.shards import Shard, ShardLimits
from producer.submitting.stored.sharding import cut_found, cut_stored
from producer.submitting.stored.tables import StoredShards
from producer.submitting.submission import Options, Submission
from producer.submitting.upload import try_inline


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedSubmission:
    """A checked submission of which nothing is stored yet."""

    submission: Submission
    #: The job that already has its idempotency key.
    existing: JobManifest | None
    model: ModelManifest
    #: What its shards read, if that is inline.
    inputs: Shards | None
    #: Its shards, to be stored if `inputs` is `None`.
    shards: Iterator[Shard]
    #: What the model takes, as the options have it.
    takes: Sequence[InputTensor]
    options: Options
    #: Which columns are which inputs, if its shards are rows of a table in the store.
    table: TableBinding | None = None

    @property
    def is_small_and_new(self) -> bool:
        """Whether the job can have an id that is derived from its content."""
        small = self.inputs is not None and self.inputs.are_inline
        return small and self.submission.idempotency_key is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """Prepares submissions; reads the store and writes nothing."""

    objects: ObjectStore
    #: Where stored inputs may be.
    prefixes: InputPrefixes
    creator: JobCreator
    models: ModelStore
    resolver: Resolver
    settings: Settings

    def prepare(
        self, submissions: Iterable[Submission | Inputs], options: Options
    ) -> list[PreparedSubmission]:
        """All submissions, checked.

        Raises:
            InputError: Images do not fit the model.
            UsageError: An option or a key makes no sense.
            ModelNotFoundError: There is no such model.
            StoreError: The store cannot be reached.
        """
        options.check()
        if isinstance(submissions, str | bytes | Mapping) or not isinstance(submissions, Iterable):
            raise UsageError(
                f"submissions is {type(submissions).__name__}; give a list of inputs, one a job"
            )
        given = [s if isinstance(s, Submission) else Submission(inputs=s) for s in submissions]
        for submission in given:
            submission.check()
        idempotency_keys = [submission.idempotency_key for submission in given]
        _check_keys(idempotency_keys)
        known = list(in_parallel(self._existing, idempotency_keys))
        ref, current = ModelRef.parse(options.model), None
        prepared: list[PreparedSubmission] = []
        for number, (submission, existing) in enumerate(zip(given, known, strict=True)):
            if existing is not None and ref.version is None and ref.name == existing.model.name:
                # An alias may have moved since; the caller means the job of that time.
                model = self.models.verified_manifest(existing.model)
            else:
                model = current = current or self.resolver.resolve(ref)
            try:
                prepared.append(self._prepare(submission, options, model, existing))
            except (InputError, UsageError) as exc:
                if len(given) == 1:
                    raise
                # Numbers of items mean nothing without the submission's.
                kind = InputError if isinstance(exc, DuplicateIdError) else type(exc)
                raise kind(f"submissions[{number}]: {exc}") from exc
        return prepared

    def _existing(self, idempotency_key: str | None) -> JobManifest | None:
        if idempotency_key is None:
            return None
        keys.check_name("idempotency key", idempotency_key)
        if is_generated_id(idempotency_key):
            raise UsageError(
                f"idempotency key {idempotency_key!r} has the form of a generated job id; use a "
                "name of your own, such as an order number"
            )
        return self.creator.existing(idempotency_key)

    def _prepare(
        self,
        submission: Submission,
        options: Options,
        model: ModelManifest,
        existing: JobManifest | None,
    ) -> PreparedSubmission:
        """Look at the images as far as it takes to tell whether they are small."""
        given = options.items_per_shard
        signature = Signature.of(model, image=options.image)
        settings = self.settings
        item_count = items_per_shard_for(
            signature,
            items_per_shard=settings.items_per_shard if given is None else int(given),
            max_shard_bytes=settings.max_shard_bytes,
        )
        limits = ShardLimits.of(
            signature, item_count=item_count, max_shard_bytes=settings.max_shard_bytes
        )
        shards, table = self._shards(submission, signature, limits, options)
        inputs: Shards | None = None
        # An existing job is compared with one whose inputs are kept the same way.
        if (existing is None or existing.is_small) and not isinstance(
            submission.inputs, StoredImages | StoredUpload
        ):
            inputs, shards = try_inline(shards, max_bytes=settings.max_inline_bytes)
        _check_count(submission.inputs, items_per_shard=item_count)
        return PreparedSubmission(
            submission=submission,
            existing=existing,
            model=model,
            inputs=inputs,
            shards=shards,
            takes=signature.inputs,
            options=options,
            table=table,
        )

    def _shards(
        self,
        submission: Submission,
        signature: Signature,
        limits: ShardLimits,
        options: Options,
    ) -> StoredShards:
        """The shards of a submission; of paths, each is looked at now."""
        inputs = submission.inputs
        if isinstance(inputs, StoredUpload):
            return self._uploaded_shards(inputs, signature, limits, options)
        if isinstance(inputs, StoredImages | LocalFiles) and submission.item_ids is not None:
            raise UsageError("item_ids go with arrays and images; files are named by their paths")
        if isinstance(inputs, StoredImages):
            return cut_stored(
                inputs,
                objects=self.objects,
                prefixes=options.prefixes or self.prefixes,
                signature=signature,
                limits=limits,
                strict=options.strict,
                table=options.table,
                fetch=url_fetcher(self.objects, options.prefixes),
            )
        blocks = blocks_of(
            inputs,
            submission.item_ids,
            signature=signature,
            read_files=partial(
                read_blocks,
                max_file_bytes=limits.file_bytes,
                strict=options.strict,
                keeps_files=True,
                fetch=url_fetcher(self.objects, options.prefixes),
                # A door's callers are on other machines.
                tables_name_files=options.prefixes is None,
                table=options.table if are_files(inputs) else NO_TABLE_OPTIONS,
            ),
            columns=options.columns,
            id_column=options.id_column,
            keeps_files=True,
        )
        return StoredShards(cut(blocks, signature=signature, limits=limits, strict=options.strict))

    def _uploaded_shards(
        self,
        upload: StoredUpload,
        signature: Signature,
        limits: ShardLimits,
        options: Options,
    ) -> StoredShards:
        """The shards of an upload, whose parts are read where they lie."""
        if upload.owner != options.owner:
            raise UsageError(f"{upload} belongs to {upload.owner}, whose jobs alone read it")
        return cut_found(
            Uploads(objects=self.objects).found(upload, max_bytes=limits.file_bytes),
            StoredImages(bucket=self.prefixes.own_bucket, prefix=upload.upload_id),
            objects=self.objects,
            fetch=url_fetcher(self.objects, options.prefixes),
            signature=signature,
            limits=limits,
            strict=options.strict,
            table=options.table,
        )


def _check_keys(idempotency_keys: Sequence[str | None]) -> None:
    for key, count in Counter(idempotency_keys).items():
        if key is not None and count > 1:
            raise UsageError(
                f"idempotency key {key!r} is given to {count} submissions; give each a key of its "
                "own"
            )


def _check_count(inputs: object, *, items_per_shard: int) -> None:
    """Check that an array, which may claim more than it holds, makes no more shards than a job has.

    Raises:
        InputError: It does.
    """
    count = len(inputs) if isinstance(inputs, np.ndarray) and inputs.ndim else 0
    if count > MAX_SHARDS * items_per_shard:
        raise InputError(
            f"{count} items make more than {MAX_SHARDS} shards of {items_per_shard}; submit "
            "several jobs, or more items a shard"
        )
