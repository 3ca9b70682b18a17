"""Run again what a job lost while open, or did not finish when it ended."""

from collections.abc import Mapping, Sequence

from fornada import keys
from fornada.coordination.interface import Coordination
from fornada.errors import InputNotAllowedError, IntegrityError, JobStateError
from fornada.jobs.job_inputs import RETRY_OF
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.jobs.store import JobStore
from fornada.jobs.summary import misfit
from fornada.parallel import in_parallel
from fornada.ranges import from_ranges
from fornada.records import JOB_VERSION, now
from fornada.tensors import manifest_fields
from producer.inputs.interface import listed

#: Added to the id of the job that is retried.
_RETRY = "-retry"


def lost_shards(manifest: JobManifest, *, jobs: JobStore, coordination: Coordination) -> list[int]:
    """The shards of an open job that have no outcome and are neither leased nor enqueued.

    Raises:
        JobStateError: The job has ended.
    """
    job_id = manifest.job_id
    final = jobs.end_of(manifest)
    if final is not None:
        raise JobStateError(
            f"job {job_id} has ended {final.state}, which never changes; retry what failed as a "
            "new job"
        )
    # Redis may have forgotten it.
    coordination.open_job(job_id)
    missing = jobs.missing_shards(manifest)
    progress = coordination.progress(job_id)
    return [s for s in missing if s not in progress.leased and s not in progress.enqueued]


def retry_of(manifest: JobManifest, *, jobs: JobStore) -> JobManifest:
    """The manifest of a new job of an ended one's failed items, and of its dead and missing shards.

    Raises:
        JobStateError: The job has not ended, or has nothing that can be run again.
        InputNotAllowedError: It reads what jobs may not read any more.
        IntegrityError: An outcome is of other items than its shard.
    """
    job_id = manifest.job_id
    final = jobs.end_of(manifest)
    if final is None:
        raise JobStateError(f"job {job_id} has not ended; wait for it, or cancel it first")
    dead = from_ranges(final.dead_ranges)
    done = sorted(set(from_ranges(final.outcome_ranges)) - set(dead))
    items_dead = sum(manifest.shards.item_counts[shard] for shard in dead)
    failed = _failed_items(manifest, done, final, jobs) if final.items_failed > items_dead else {}
    missing = set(range(len(manifest.shards))) - set(done)
    shards = {shard: manifest.shards[shard] for shard in missing} | {
        shard: manifest.shards[shard].select(items) for shard, items in failed.items()
    }
    if not shards:
        unread = ": what failed could not be read at submission; mend and submit it"
        raise JobStateError(
            f"job {job_id} ended {final.state} with nothing that can be run again"
            f"{unread if final.items_failed else ''}"
        )
    return _job_of(
        manifest,
        dict(sorted(shards.items())),
        jobs=jobs,
        job_id=retry_id(job_id),
        tags={RETRY_OF: job_id},
    )


def retry_id(job_id: str) -> str:
    """The id of the job that retries `job_id`."""
    return keys.check_name("job id", f"{job_id}{_RETRY}")


def is_retry_id(job_id: str) -> bool:
    """Whether a retry may have this id."""
    return job_id.endswith(_RETRY)


def _failed_items(
    manifest: JobManifest, shards: Sequence[int], final: JobFinal, jobs: JobStore
) -> dict[int, list[int]]:
    """Shard -> its failed items, without those that the submitter could not read."""

    def failed(shard: int) -> list[int]:
        outcome = jobs.counted_outcome(final, shard)
        if outcome is None or not outcome.item_errors:
            return []
        why = misfit(outcome, manifest.shards.item_counts[shard])
        if why is not None:
            raise IntegrityError(why)
        errors = {error.index for error in outcome.item_errors}
        unread = {error.index for error in manifest.shards[shard].item_errors}
        return sorted(errors - unread)

    found = zip(shards, in_parallel(failed, shards), strict=True)
    return {shard: items for shard, items in found if items}


def job_of_shards(
    manifest: JobManifest,
    shards: Sequence[int],
    *,
    jobs: JobStore,
    job_id: str,
    tags: Mapping[str, str],
) -> JobManifest:
    """A new job of some shards of another; items are not copied, and keep their numbers.

    Raises:
        InputNotAllowedError: It reads what jobs may not read any more.
    """
    chosen = {shard: manifest.shards[shard] for shard in shards}
    return _job_of(manifest, chosen, jobs=jobs, job_id=job_id, tags=tags)


def _job_of(
    manifest: JobManifest,
    shards: Mapping[int, ShardInput],
    *,
    jobs: JobStore,
    job_id: str,
    tags: Mapping[str, str],
) -> JobManifest:
    firsts = manifest.shards.first_items
    # Of a retry, the job that it retries holds no inputs.
    *_, first_job = manifest.job_id, *jobs.inputs.sources(manifest)
    again = manifest.model_copy(
        update={
            "schema_version": JOB_VERSION,
            **manifest_fields(JOB_VERSION, manifest.takes, manifest.gives),
            "job_id": job_id,
            "shards": Shards(
                spec.model_copy(update={"first_item": firsts[shard]})
                for shard, spec in shards.items()
            ),
            "created_at": now(),
            "deadline": None,
            "source_job": first_job,
            "tags": {**manifest.tags, **tags},
        }
    )
    refused = jobs.inputs.refused(again)
    if refused:
        fact = f"job {manifest.job_id} reads what no job may read now: {listed(refused)};"
        raise InputNotAllowedError(
            f"{fact} allow it in FORNADA_INPUT_PREFIXES of producers and workers, or submit the "
            "items again"
        ).with_public_text(f"{fact} submit the items again, from where jobs may read")
    return again
