"""Delete a model version that nothing needs any more; its number is never used again."""

import contextlib
from collections.abc import Iterator

from fornada import keys
from fornada.errors import JobNotFoundError, MessageError, UsageError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore
from fornada.parallel import in_parallel
from model_store.manifest import ModelManifest
from model_store.store import ModelStore


def delete_version(manifest: ModelManifest, *, models: ModelStore, jobs: JobStore) -> int:
    """Delete every object of a version but its claim; return how many.

    A job that is submitted in the same moment may still be accepted, and then ends FAILED, saying
    that the version does not exist. What ended jobs have computed stays.

    Args:
        manifest: The version.
        models: Where it is.
        jobs: The jobs of the same store.

    Raises:
        UsageError: An alias points at it, or a job that has not ended runs on it; says which.
        StoreError: The store cannot be reached. Broken off, the version is gone already, and what
            is left of it only takes room.
    """
    aliases = [
        alias
        for alias, version in sorted(models.aliases(manifest.name).items())
        if version == manifest.version
    ]
    if aliases:
        raise UsageError(
            f"{manifest} is what {', '.join(f'@{alias}' for alias in aliases)} points at; promote "
            "another version first"
        )
    open_jobs = [job.job_id for job in _open_jobs(jobs) if job.model == manifest.pin]
    if open_jobs:
        raise UsageError(
            f"{manifest} is needed by {len(open_jobs)} jobs that have not ended, such as "
            f"{open_jobs[0]}; wait for them, or cancel them"
        )
    prefix = keys.ModelKeys(manifest.name).version(manifest.version).prefix
    manifest_key = keys.ModelKeys(manifest.name).version(manifest.version).manifest
    claim = keys.ModelKeys(manifest.name).version(manifest.version).claim
    below = [info.key for info in models.objects.list(prefix)]
    # Without its manifest a version does not exist, so nobody begins to use the rest.
    models.objects.delete(manifest_key)
    doomed = [key for key in below if key not in {manifest_key, claim}]
    for _ in in_parallel(models.objects.delete, doomed):
        pass
    return len(doomed) + 1


def _open_jobs(jobs: JobStore) -> Iterator[JobManifest]:
    job_ids = jobs.job_ids()
    finals = in_parallel(jobs.final, job_ids)
    for job_id, final in zip(job_ids, finals, strict=True):
        if final is None:
            # Never submitted, or not ours to read: nothing will run it.
            with contextlib.suppress(JobNotFoundError, MessageError):
                yield jobs.manifest(job_id)
