"""Whether two manifests ask for the same work, and which of them holds."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime

from fornada.errors import JobConflictError
from fornada.jobs.manifest import JobManifest
from fornada.logs import get_logger
from fornada.records import Record, Sha256, sha256_hex

log = get_logger(__name__)

_NO_TIME = datetime.fromtimestamp(0, UTC)
#: Between creators of one job, at most: longer than Redis keeps a decision.
_SAME_CREATION = timedelta(minutes=10)


class _Created(Record):
    """What is decided when a job is created: its work and its times."""

    work_sha256: Sha256
    created_at: AwareDatetime
    deadline: AwareDatetime | None = None


def first_created(manifest: JobManifest, *, decide: Callable[[str, bytes], bytes]) -> JobManifest:
    """The manifest as the job's first creator writes it, perhaps another process.

    Args:
        manifest: The job.
        decide: Question, proposed answer → the answer that was proposed first.

    Raises:
        JobConflictError: The first creator writes other content.
    """
    job_id = manifest.job_id
    proposed = _Created(
        work_sha256=work_of(manifest),
        created_at=manifest.created_at,
        deadline=manifest.deadline,
    )
    decided = decide(f"manifest of {job_id}", proposed.to_json())
    first = _Created.from_json(decided, where=f"decision on {job_id}")
    if first == proposed:
        return manifest
    if abs(first.created_at - proposed.created_at) > _SAME_CREATION:
        # Of an earlier job of this id, and put back into Redis.
        log.warning("old decision in Redis not believed", job_id=job_id, of=first.created_at)
        return manifest
    if first.work_sha256 != proposed.work_sha256:
        raise conflict(manifest)
    return manifest.model_copy(update={"created_at": first.created_at, "deadline": first.deadline})


def work_of(manifest: JobManifest) -> Sha256:
    """sha256 of the manifest without the times of its submission."""
    work = manifest.model_copy(update={"created_at": _NO_TIME, "deadline": None})
    return sha256_hex(work.to_json())


def conflict(manifest: JobManifest) -> JobConflictError:
    """The error for a job id that is taken by other content."""
    return JobConflictError(
        f"job {manifest.job_id!r} exists with other images, model or options; "
        "use another idempotency key, or the images that it was first used with"
    )
