"""What a job may read: its own inputs, those of the job it runs again, and the input prefixes."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from fornada import keys
from fornada.errors import (
    InputError,
    InputNotAllowedError,
    JobNotFoundError,
    MessageError,
    ObjectNotFoundError,
    StoreClockError,
    StoreCredentialsError,
    StoreQuotaError,
    StoreRefusedError,
)
from fornada.jobs.manifest import JobManifest
from fornada.keys import gateway as gateway_keys
from fornada.logs import get_logger
from fornada.records import JOB_VERSION, ObjectRef
from fornada.storage.checked_reads import read_checked
from fornada.storage.interface import ObjectStore
from fornada.trust.input_prefixes import InputPrefixes
from fornada.trust.object_names import key_flaw

log = get_logger(__name__)

#: Tags of versions before 3, by which a retry and a verification name the job that they read.
RETRY_OF, VERIFIES = "retry_of", "verifies"
#: Most retries of retries: an id grows with each, and ends at 128 characters.
_MOST_SOURCES = 32
_SOURCES_KEPT = 1024
#: Refusals that say nothing about an object.
_OF_WORKERS = (StoreCredentialsError, StoreClockError, StoreQuotaError)


class _Source(NamedTuple):
    """What matters of a job that another reads."""

    owner: str | None
    source: str | None


class JobInputs:
    """Reads the objects that a job's manifest names, those that the job may read."""

    def __init__(
        self,
        *,
        objects: ObjectStore,
        prefixes: InputPrefixes | None,
        manifest_of: Callable[[str], JobManifest],
    ) -> None:
        """Read through `objects`.

        Args:
            objects: The store.
            prefixes: Where jobs may read what Fornada did not store; without any, nowhere.
            manifest_of: The manifest of a job.
        """
        self._objects = objects
        self._prefixes = prefixes

        def source(job_id: str) -> _Source:
            manifest = manifest_of(job_id)
            return _Source(manifest.owner, source_of(manifest))

        self._source = lru_cache(_SOURCES_KEPT)(source)

    def read(self, manifest: JobManifest, ref: ObjectRef) -> bytes:
        """The bytes of an object that `manifest` names.

        An error says of an object that cannot be read no more than the manifest does, not even
        whether it exists: the job's submitter reads it.

        Raises:
            InputNotAllowedError: The job may not read it.
            InputError: The store refuses to give it.
            IntegrityError: Size, digest or ETag differ, in two reads.
            ObjectNotFoundError: The object is gone.
            StoreError: The store cannot be reached, or refuses what Fornada itself stored.
        """
        if ref.inline is None and not self._allow(manifest, ref):
            raise InputNotAllowedError(
                f"{address_of(ref)} is not an object that this job may read; put it where "
                "FORNADA_INPUT_PREFIXES of the workers allows, or submit the items themselves"
            )
        try:
            return read_checked(self._objects, ref, remedy="submit it again")
        except _OF_WORKERS:
            raise
        except StoreRefusedError as exc:
            if self._is_own(ref) and ref.key.startswith(keys.JOBS_PREFIX):
                raise
            self._check_store(manifest)
            log.debug("the store refuses an input", key=ref.key, bucket=ref.bucket, error=str(exc))
            raise InputError(
                f"the store gives workers no object {address_of(ref)}; check its key, the bucket's "
                "policy, and that it is not archived, or submit the items themselves"
            ) from exc

    def refused(self, manifest: JobManifest) -> list[str]:
        """The addresses of all objects that the manifest names and the job may not read."""
        return [
            address_of(ref)
            for shard in manifest.shards
            for ref in shard.refs
            if ref.inline is None and not self._allow(manifest, ref)
        ]

    def sources(self, manifest: JobManifest) -> Iterator[str]:
        """The jobs whose inputs the job may read, from the one that it runs again to the first.

        Ends before a job that is gone, unreadable or of another owner.

        Raises:
            StoreError: The store cannot be reached.
        """
        source = source_of(manifest)
        for _ in range(_MOST_SOURCES):
            if source is None:
                return
            try:
                found = self._source(source)
            except (JobNotFoundError, MessageError):
                return
            if found.owner not in {None, manifest.owner}:
                return
            yield source
            source = found.source

    def _check_store(self, manifest: JobManifest) -> None:
        """Check that the store answers, so that a refusal is about an object."""
        with suppress(ObjectNotFoundError):
            self._objects.get(keys.JobKeys(manifest.job_id).manifest, max_bytes=1)

    def _is_own(self, ref: ObjectRef) -> bool:
        return ref.bucket is None or (
            self._prefixes is not None and ref.bucket == self._prefixes.own_bucket
        )

    def _allow(self, manifest: JobManifest, ref: ObjectRef) -> bool:
        if self._prefixes is not None and self._prefixes.allow(ref.key, ref.bucket):
            return True
        if not self._is_own(ref) or key_flaw(ref.key) is not None:
            return False
        if ref.key.startswith(keys.JobKeys(manifest.job_id).prefix):
            return True
        upload = gateway_keys.upload_of(ref.key)
        if upload is not None:
            return upload.owner == manifest.owner and ref.key.startswith(upload.parts)
        return any(
            ref.key.startswith(keys.JobKeys(source).input_prefixes)
            for source in self.sources(manifest)
        )


def source_of(manifest: JobManifest) -> str | None:
    """The job whose items `manifest` runs again, if there is one."""
    if manifest.schema_version >= JOB_VERSION:
        return manifest.source_job
    source = manifest.tags.get(RETRY_OF) or manifest.tags.get(VERIFIES)
    return source if source is not None and keys.is_name(source) else None


def address_of(ref: ObjectRef) -> str:
    """Where the object is, as printable text."""
    return repr(ref.key if ref.bucket is None else f"s3://{ref.bucket}/{ref.key}")[:200]
