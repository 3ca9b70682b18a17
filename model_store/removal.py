"""Delete a model version that nothing needs any more; its number is never reused."""

import contextlib
from collections.abc import Iterator

from fornada.errors import JobNotFoundError, MessageError, UsageError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore
from fornada.parallel import in_parallel
from model_store.manifest import ModelManifest
from model_store.store import ModelStore


def delete_version(manifest: ModelManifest, *, models: ModelStore, jobs: JobStore) -> int:
    """Delete every object of a version except its claim; return how many.

    A job submitted at the same moment may still be accepted; it then ends FAILED because the
    version does not exist. Results of ended jobs stay.

    Args:
        manifest: The version.
        models: The store that has it.
        jobs: The jobs of the same store.

    Raises:
        UsageError: An alias points at it, or a job that has not ended needs it; says which.
        StoreError: The store cannot be reached. If that interrupts the deletion, the version is
            gone all the same, and its remaining objects only take space.
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
    of_version = manifest.version_keys
    below = [info.key for info in models.objects.list(of_version.prefix)]
    # First, since a version without a manifest does not exist and nothing begins to use it.
    models.objects.delete(of_version.manifest)
    doomed = [key for key in below if key not in {of_version.manifest, of_version.claim}]
    for _ in in_parallel(models.objects.delete, doomed):
        pass
    return len(doomed) + 1


def _open_jobs(jobs: JobStore) -> Iterator[JobManifest]:
    job_ids = jobs.job_ids()
    finals = in_parallel(jobs.final, job_ids)
    for job_id, final in zip(job_ids, finals, strict=True):
        if final is None:
            # Never submitted, or unreadable: no worker runs it.
            with contextlib.suppress(JobNotFoundError, MessageError):
                yield jobs.manifest(job_id)
