"""The state of a job, as told by the store and Redis."""

from dataclasses import dataclass
from datetime import datetime

from fornada.coordination.interface import Progress
from fornada.figures.shown import Figures
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal, JobState
from fornada.records import now


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """The state of a job.

    Of its shards, `done` have an outcome, `dead` ones among them will not be tried again, `running`
    ones are being computed, and `queued` are the rest. `items_ok`, `items_failed` and `shards_dead`
    are `None` while the job is open and Redis has lost its counts. `items_per_s` is the rate from
    submission to the last outcome, `eta_s` the time left at the rate since the first shard began.
    `reason` says why a job ended as it did, why one that is open waits, or what cannot be read of
    one that is UNREADABLE.
    """

    job_id: str
    state: JobState
    model: str
    model_sha256: str
    items: int
    items_done: int
    items_ok: int | None
    items_failed: int | None
    shards: int
    shards_done: int
    shards_dead: int | None
    shards_running: int
    shards_queued: int
    #: Those of `shards_queued` that are not in the queue, which is full or lost them.
    shards_waiting: int | None
    #: How often shards were begun.
    attempts: int | None
    #: Photographs whose EXIF orientation the model's preprocessing ignores, once the job has ended.
    orientations_ignored: int | None
    #: What it took and predicted; `None` while it is open, and of jobs of an older release.
    figures: Figures | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    items_per_s: float | None
    eta_s: float | None
    reason: str | None
    tags: dict[str, str]

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.ended_at is not None


def ended_status(manifest: JobManifest, final: JobFinal) -> JobStatus:
    """The status of an ended job."""
    items_done = final.items_ok + final.items_failed
    last = final.last_outcome_at
    figures = final.figures_for(manifest.gives)
    return JobStatus(
        job_id=manifest.job_id,
        state=JobState(final.state),
        model=str(manifest.model),
        model_sha256=manifest.model.sha256,
        items=manifest.item_count,
        items_done=items_done,
        items_ok=final.items_ok,
        items_failed=final.items_failed,
        shards=len(manifest.shards),
        shards_done=final.shards_ok + final.shards_dead,
        shards_dead=final.shards_dead,
        shards_running=0,
        shards_queued=0,
        shards_waiting=0,
        attempts=final.attempts,
        orientations_ignored=final.orientations_ignored,
        figures=None if figures is None else Figures.of(figures, manifest.gives),
        created_at=manifest.created_at,
        started_at=final.started_at,
        ended_at=final.ended_at,
        items_per_s=None if last is None else _rate(items_done, manifest.created_at, last),
        eta_s=None,
        reason=final.reason,
        tags=manifest.tags,
    )


def open_status(manifest: JobManifest, progress: Progress) -> JobStatus:
    """The status of an open job."""
    item_counts = manifest.shards.item_counts
    items, shards = manifest.item_count, len(item_counts)
    # Redis may name shards that the job does not have.
    done, running_shards, dead = (
        {shard for shard in some if shard < shards}
        for some in (progress.done, progress.running, progress.dead)
    )
    items_done = sum(item_counts[shard] for shard in done)
    items_dead = sum(item_counts[shard] for shard in dead)
    items_failed = items_dead + progress.item_errors if progress.counted else None
    running = len(running_shards - done)
    held = {s for s in (*done, *progress.leased, *progress.enqueued) if s < shards}
    started_at = progress.started_at or manifest.created_at
    # Without Redis there is no better clock than this machine's.
    at = progress.at or now()
    rate = _rate(items_done, started_at, at) if items_done else None
    return JobStatus(
        job_id=manifest.job_id,
        state=JobState.RUNNING if done or running else JobState.QUEUED,
        model=str(manifest.model),
        model_sha256=manifest.model.sha256,
        items=items,
        items_done=items_done,
        items_ok=None if items_failed is None else items_done - items_failed,
        items_failed=items_failed,
        shards=shards,
        shards_done=len(done),
        shards_dead=len(dead) if progress.counted else None,
        shards_running=running,
        shards_queued=shards - len(done) - running,
        shards_waiting=None if progress.at is None else shards - len(held),
        attempts=progress.attempts if progress.counted else None,
        orientations_ignored=None,
        figures=None,
        created_at=manifest.created_at,
        started_at=progress.started_at,
        ended_at=None,
        items_per_s=_rate(items_done, manifest.created_at, at) if items_done else None,
        eta_s=(items - items_done) / rate if rate else None,
        reason=None if running else _held_up(progress),
        tags=manifest.tags,
    )


def unreadable_status(job_id: str, why: str, *, created_at: datetime) -> JobStatus:
    """The status of a job that cannot be read; nothing is known of what it holds."""
    return JobStatus(
        job_id=job_id,
        state=JobState.UNREADABLE,
        model="",
        model_sha256="",
        items=0,
        items_done=0,
        items_ok=None,
        items_failed=None,
        shards=0,
        shards_done=0,
        shards_dead=None,
        shards_running=0,
        shards_queued=0,
        shards_waiting=0,
        attempts=None,
        orientations_ignored=None,
        figures=None,
        created_at=created_at,
        started_at=None,
        ended_at=None,
        items_per_s=None,
        eta_s=None,
        reason=why,
        tags={},
    )


def _held_up(progress: Progress) -> str | None:
    """Why no process goes on with a job."""
    if not progress.held_up:
        return None
    processes: dict[str, list[str]] = {}
    for process, why in sorted(progress.held_up.items()):
        processes.setdefault(why, []).append(process)
    facts = [f"{', '.join(some[:3])}: {why}" for why, some in processes.items()]
    return f"no worker takes it; {'; '.join(facts[:3])}"


def _rate(item_count: int, start: datetime, stop: datetime) -> float:
    return item_count / max(1e-6, (stop - start).total_seconds())
