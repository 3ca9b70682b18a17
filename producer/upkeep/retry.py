"""Run again what a job lost while open, or did not finish when it ended."""

from collections.abc import Mapping, Sequence

from fornada import keys
from fornada.coordination.interface import Coordination
from fornada.errors import UsageError
from fornada.jobs.manifest import JobManifest, Shards
from fornada.jobs.store import JobStore
from fornada.ranges import from_ranges
from fornada.records import now

#: Tag of a retry: the job whose images it reads.
RETRY_OF = "retry_of"


def lost_shards(manifest: JobManifest, *, jobs: JobStore, coordination: Coordination) -> list[int]:
    """The shards of an open job that have no outcome and are neither running nor enqueued.

    Raises:
        UsageError: The job has ended.
    """
    job_id = manifest.job_id
    final = jobs.final(job_id)
    if final is not None:
        raise UsageError(
            f"job {job_id} has ended {final.state}, which never changes; retry its failed shards "
            "with retry_failed (`fornada jobs retry-failed`)"
        )
    # Redis may have forgotten it.
    coordination.open_job(job_id)
    missing = jobs.missing_shards(manifest)
    progress = coordination.progress(job_id)
    return [s for s in missing if s not in progress.running and s not in progress.enqueued]


def retry_of(manifest: JobManifest, *, jobs: JobStore) -> JobManifest:
    """The manifest of a new job of the dead and missing shards of an ended one.

    Raises:
        UsageError: The job has not ended, or every shard is done.
    """
    job_id = manifest.job_id
    final = jobs.final(job_id)
    if final is None:
        raise UsageError(f"job {job_id} has not ended; wait for it, or cancel it first")
    done = set(from_ranges(final.outcome_ranges)) - set(from_ranges(final.dead_ranges))
    shards = [shard for shard in range(len(manifest.shards)) if shard not in done]
    if not shards:
        raise UsageError(
            f"job {job_id} ended {final.state} with every shard done; nothing to retry"
        )
    return job_of_shards(
        manifest,
        shards,
        job_id=keys.check_name("job id", f"{job_id}-retry"),
        tags={RETRY_OF: job_id},
    )


def job_of_shards(
    manifest: JobManifest, shards: Sequence[int], *, job_id: str, tags: Mapping[str, str]
) -> JobManifest:
    """A new job of some shards of another; images are not copied, items keep their numbers."""
    firsts = manifest.shards.first_items
    return manifest.model_copy(
        update={
            "job_id": job_id,
            "shards": Shards(
                manifest.shards[shard].model_copy(update={"first_item": firsts[shard]})
                for shard in shards
            ),
            "created_at": now(),
            "deadline": None,
            "tags": {**manifest.tags, **tags},
        }
    )
