"""Describe a job of what another one did not get done."""

import itertools

from fornada import keys
from fornada.errors import UsageError
from fornada.job_store import JobStore
from fornada.job_summary import from_ranges
from fornada.messages import JobManifest, now

#: The tag of a retry that names the job whose images it reads.
RETRY_OF = "retry_of"


def retry_of(manifest: JobManifest, *, jobs: JobStore) -> JobManifest:
    """The manifest of a job of `manifest`'s shards that are dead or were never done.

    Raises:
        UsageError: The job has not ended, or every shard is done.
    """
    job_id = manifest.job_id
    final = jobs.final(job_id)
    if final is None:
        raise UsageError(f"job {job_id} has not ended; wait for it, or cancel it first")
    done = set(from_ranges(final.outcome_ranges)) - set(from_ranges(final.dead_ranges))
    counts = [spec.item_count for spec in manifest.shards]
    firsts = itertools.accumulate(counts, initial=0)
    shards = [
        # A retry of a retry still counts from the first job.
        spec.model_copy(
            update={"first_item": first if spec.first_item is None else spec.first_item}
        )
        for shard, (spec, first) in enumerate(zip(manifest.shards, firsts, strict=False))
        if shard not in done
    ]
    if not shards:
        raise UsageError(
            f"job {job_id} ended {final.state} with every shard done; nothing to retry"
        )
    return manifest.model_copy(
        update={
            "job_id": keys.check_name("job id", f"{job_id}-retry"),
            "shards": shards,
            "created_at": now(),
            "deadline": None,
            "tags": {**manifest.tags, RETRY_OF: job_id},
        }
    )
