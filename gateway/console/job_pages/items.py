"""Items of a job: lists of them, one, and its picture."""

from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from fornada.errors import InputError
from gateway.console.items.cards import Card
from gateway.console.items.failed import failed_page
from gateway.console.items.pictures import LARGE, THUMBNAIL, encoded
from gateway.console.job_pages.visit import JobVisit, TheJobVisit

router = APIRouter(prefix="/jobs/{job_id}/items")

_PAGE_CARDS = 24
#: The bytes of an item never change.
_KEPT = "private, max-age=3600"


class Which(BaseModel):
    """Which items a page shows, and in which order."""

    order: Literal["uncertain", "submitted", "failed"] = "uncertain"
    label: str = ""
    #: How many come before; of failed items, the number of the first.
    skip: int = Field(ge=0, default=0)

    def at(self, skip: int | None) -> str | None:
        """The query of the page that begins there."""
        if skip is None:
            return None
        values = {"order": self.order, "label": self.label, "skip": skip}
        return urlencode({name: value for name, value in values.items() if value})


@router.get("")
def items(visit: TheJobVisit, which: Annotated[Which, Query()]) -> HTMLResponse:
    """A page of items."""
    survey = visit.survey
    if which.order == "uncertain" and survey.certainty is None:
        which = which.model_copy(update={"order": "submitted"})
    classes = survey.certainty.classes if survey.certainty and which.order == "uncertain" else ()
    if which.label not in classes:
        which = which.model_copy(update={"label": ""})
    cards, following, total = _some(visit, which)
    is_later = which.skip > 0 and which.order != "failed"
    return visit.render(
        "items",
        survey=survey,
        which=which,
        cards=cards,
        total=total,
        next=which.at(following),
        previous=which.at(max(0, which.skip - _PAGE_CARDS)) if is_later else None,
    )


def _some(visit: JobVisit, which: Which) -> tuple[list[Card], int | None, int]:
    """The cards of a page, where the next one begins, and how many there are in all."""
    view, end = visit.results, which.skip + _PAGE_CARDS
    if which.order == "failed":
        page = failed_page(
            view,
            first_item=which.skip,
            count=_PAGE_CARDS,
            results=visit.cards.results,
            jobs=visit.jobs.store,
        )
        cards = visit.cards.some(view, [found.item for found in page.items])
        return cards, page.next_item, view.status.items_failed or 0
    certainty = visit.survey.certainty
    if which.order == "uncertain" and certainty is not None:
        chosen = certainty.of_class(which.label)
        some, total = chosen[which.skip : end].tolist(), len(chosen)
    else:
        total = view.manifest.item_count
        some = list(range(which.skip, min(end, total)))
    return visit.cards.some(view, some), end if end < total else None, total


@router.get("/{item}")
def one(item: int, visit: TheJobVisit, draw: str = "") -> HTMLResponse:
    """An item: what the model was given, and what it gave."""
    card = visit.cards.one(visit.results, _checked(item, visit))
    drawable = [given.output.name for given in card.given if given.drawn]
    chosen = draw if draw in drawable else next(iter(drawable), "")
    return visit.render("item", card=card, drawable=drawable, draw="" if draw == "-" else chosen)


@router.get("/{item}/picture")
def picture(
    item: int,
    visit: TheJobVisit,
    size: Literal["thumbnail", "large"] = "thumbnail",
    draw: str | None = None,
) -> Response:
    """The item's picture, decoded and written anew; 404 with the reason where it has none."""
    longest = LARGE if size == "large" else THUMBNAIL
    view = visit.results
    try:
        found = visit.cards.picture(view, _checked(item, visit), longest=longest, draw=draw)
    except InputError as exc:
        return Response(str(exc), HTTPStatus.NOT_FOUND, media_type="text/plain; charset=utf-8")
    content, kind = encoded(found)
    return Response(content, media_type=kind, headers={"Cache-Control": _KEPT})


def _checked(item: int, visit: JobVisit) -> int:
    count = visit.manifest.item_count
    if not 0 <= item < count:
        raise visit.not_found(f"item {item}; it has {count}, numbered from 0")
    return item
