"""A job as the API shows it."""

from dataclasses import replace
from datetime import datetime
from typing import Self

from pydantic import BaseModel, Field

from fornada.figures.shown import Figures
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobState
from producer.job_status import JobStatus

_NO_MODEL = {"name": "", "version": 0, "sha256": ""}


class ModelDocument(BaseModel):
    """The exact model of a job."""

    name: str
    version: int
    sha256: str


class ItemCounts(BaseModel):
    """Items of a job; `null` while the job is open and Redis has lost its counts."""

    total: int
    ok: int | None
    failed: int | None
    pending: int


class ShardCounts(BaseModel):
    """Shards of a job; dead ones are among those that are done."""

    total: int
    done: int
    running: int
    queued: int
    waiting: int | None = Field(description="Not in the queue, which is full or lost them.")
    dead: int | None


class JobLinks(BaseModel):
    """Where more of a job is."""

    results: str
    errors: str
    events: str

    @classmethod
    def of(cls, job_id: str) -> Self:
        """The links of a job."""
        path = f"/v1/jobs/{job_id}"
        return cls(results=f"{path}/results", errors=f"{path}/errors", events=f"{path}/events")


class JobDocument(BaseModel):
    """A job now."""

    id: str
    state: JobState
    model: ModelDocument
    queue: str
    counts: ItemCounts
    shards: ShardCounts
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    items_per_s: float | None
    eta_s: float | None
    reason: str | None
    attempts: int | None = Field(description="How often shards were begun.")
    max_failed: int | str | None = Field(description="As it was submitted.")
    orientations_ignored: int | None = Field(
        description="Photographs that the model's preprocessing does not turn; once it has ended."
    )
    tags: dict[str, str]
    links: JobLinks

    @classmethod
    def of(cls, manifest: JobManifest | None, status: JobStatus) -> Self:
        """The document of a job; without a manifest, of one that cannot be read."""
        model = None if manifest is None else manifest.model.model_dump()
        return cls(
            id=status.job_id,
            state=status.state,
            model=ModelDocument(**(model or _NO_MODEL)),
            queue="" if manifest is None else manifest.queue_name,
            counts=ItemCounts(
                total=status.items,
                ok=status.items_ok,
                failed=status.items_failed,
                pending=status.items - status.items_done,
            ),
            shards=ShardCounts(
                total=status.shards,
                done=status.shards_done,
                running=status.shards_running,
                queued=status.shards_queued - (status.shards_waiting or 0),
                waiting=status.shards_waiting,
                dead=status.shards_dead,
            ),
            created_at=status.created_at,
            started_at=status.started_at,
            ended_at=status.ended_at,
            expires_at=None if manifest is None else manifest.expires_at,
            items_per_s=status.items_per_s,
            eta_s=status.eta_s,
            reason=status.reason,
            attempts=status.attempts,
            max_failed=None if manifest is None else manifest.max_failed,
            orientations_ignored=status.orientations_ignored,
            tags=status.tags,
            links=JobLinks.of(status.job_id),
        )


class ShownJobDocument(JobDocument):
    """A job now, with what it took and predicted."""

    figures: Figures | None = Field(
        description="Once it has ended; `null` of jobs of an older release. `predicted` is empty "
        "for keys without the scope `results:read`."
    )

    @classmethod
    def of(
        cls, manifest: JobManifest | None, status: JobStatus, *, with_results: bool = False
    ) -> Self:
        """The document of a job; `with_results`: with what was predicted."""
        figures = status.figures
        if figures is not None and not with_results:
            figures = replace(figures, predicted=[])
        return cls(**dict(JobDocument.of(manifest, status)), figures=figures)


class WebhookSecret(BaseModel):
    """What verifies the calls of a webhook; shown to whoever submits the job, and not again."""

    url: str
    secret: str


class SubmittedDocument(JobDocument):
    """A job that was submitted."""

    webhook: WebhookSecret | None = None


class JobListDocument(BaseModel):
    """A page of jobs, newest first."""

    data: list[JobDocument]
    next_cursor: str | None = Field(description="`cursor` of the next page; `null` after the last.")
