"""`/jobs/{id}`: one job."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from fornada.figures.shown import PredictedFigures
from fornada.jobs.job_inputs import source_of
from gateway.auth.scopes import Scope
from gateway.console.items.cards import Card
from gateway.console.items.failed import failed_page
from gateway.console.items.survey import Survey
from gateway.console.job_access import View
from gateway.console.job_pages.visit import JobVisit, TheJobVisit
from gateway.console.pages import PART
from producer.exporting.catalog import FORMATS

router = APIRouter(prefix="/jobs/{job_id}")

#: Jobs of more shards open before their items and outcomes are read.
_FEW_SHARDS = 48
_FEW_CARDS = 8
#: Shards that are looked at for failed items before the page with all of them is asked for.
_FEW_EXAMINED = 256
#: What says most of a job's outcomes: they are read when these parts of a page are asked for.
READ_PARTS = ("outcomes", "failed", "gallery")


@router.get("")
def job(
    visit: TheJobVisit,
    all: bool = False,  # noqa: A002, FBT001, FBT002 - its name in URLs
) -> HTMLResponse:
    """The job now, and what its outcomes say."""
    view = visit.view
    part = visit.visit.request.query_params.get(PART)
    is_small = len(view.manifest.shards) <= _FEW_SHARDS
    reads = part in READ_PARTS or (part is None and (all or is_small))
    found, predicted = _Found(), _predicted(visit)
    if reads and visit.visit.viewer.may(Scope.RESULTS_READ):
        found = _read(visit, READ_PARTS if part is None else (part,))
    return visit.render(
        "job",
        view=view,
        source=source_of(view.manifest),
        webhook=visit.webhook,
        formats=list(FORMATS),
        shard_counts=shard_counts(view),
        reads=reads,
        survey=found.survey,
        failed_cards=found.failed,
        predicted=predicted,
        training_shares=visit.training_shares if predicted or found.survey else {},
        gallery=found.gallery,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What outcomes and results say."""

    survey: Survey | None = None
    failed: list[Card] = field(default_factory=list)
    gallery: list[Card] = field(default_factory=list)


def _predicted(visit: JobVisit) -> list[PredictedFigures]:
    """What the end of the job says was predicted, for those who may read results."""
    figures = visit.view.status.figures
    may_read = visit.visit.viewer.may(Scope.RESULTS_READ)
    return figures.predicted if figures is not None and may_read else []


def _read(visit: JobVisit, parts: Sequence[str]) -> _Found:
    """What the parts of a page show; `failed` needs no survey."""
    if tuple(parts) == ("failed",):
        return _Found(failed=_failed(visit))
    survey = visit.survey
    return _Found(
        survey=survey,
        failed=_failed(visit) if "failed" in parts else [],
        gallery=_gallery(visit, survey) if "gallery" in parts else [],
    )


def _failed(visit: JobVisit) -> list[Card]:
    view = visit.results
    if view.status.items_failed == 0:
        return []
    page = failed_page(
        view,
        first_item=0,
        count=_FEW_CARDS,
        results=visit.cards.results,
        jobs=visit.jobs.store,
        most_shards=_FEW_EXAMINED,
    )
    return visit.cards.some(view, [found.item for found in page.items])


def _gallery(visit: JobVisit, survey: Survey) -> list[Card]:
    view = visit.results
    if survey.certainty is not None:
        shown = survey.certainty.items[:_FEW_CARDS].tolist()
    else:
        # Without classes nothing is uncertain: the first ones.
        count = min(view.manifest.item_count, _FEW_CARDS if survey.shards_done else 0)
        shown = list(range(count))
    return visit.cards.some(view, shown)


def shard_counts(view: View) -> list[tuple[str, str, int]]:
    """Letter on the map, words, and number of shards in each state."""
    status = view.status
    dead = status.shards_dead or 0
    found = [("d", "done", status.shards_done - dead)]
    if view.progress is not None:
        left = status.shards_queued
        queued = min(left, len(view.progress.enqueued.keys() - view.progress.done))
        found += [
            ("r", "running", status.shards_running),
            ("q", "queued", queued),
            ("w", "waiting", left - queued),
        ]
    elif view.final is not None and view.final.shards_missing:
        found.append(("n", "not run", view.final.shards_missing))
    return [*found, ("x", "dead", dead)]
