"""Shards of a job: all of them as a map, and one."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel

from fornada.parallel import in_parallel
from fornada.ranges import from_ranges
from gateway.console.job_access import View
from gateway.console.job_pages.visit import TheJobVisit

router = APIRouter(prefix="/jobs/{job_id}/shards")

_MOST_OUTCOMES = 512
_CARDS = 24


class MapDocument(BaseModel):
    """The state of each shard."""

    shards: int
    ended: bool
    #: A letter for each shard, and how often it is repeated if that is more than once: `d190r6w`.
    #: d: done, x: dead, r: running, q: queued, w: waiting for room in the queue, n: never run.
    states: str


class OutcomesDocument(BaseModel):
    """What the outcomes of some shards say; `null` for a shard without one."""

    first: int
    attempts: list[int | None]
    failed: list[int | None]
    seconds: list[float | None]


@router.get("/map")
def shard_map(visit: TheJobVisit) -> MapDocument:
    """The state of all shards; of a million, a megabyte at most."""
    view = visit.view
    return MapDocument(
        shards=len(view.manifest.shards),
        ended=view.final is not None,
        states="".join(_runs(states_of(view))),
    )


@router.get("/outcomes")
def outcomes(visit: TheJobVisit, first: Annotated[int, Query(ge=0)] = 0) -> OutcomesDocument:
    """Attempts, failed items and time of up to 512 shards, from `first` on."""
    view = visit.results
    states = states_of(view)[first : first + _MOST_OUTCOMES]
    ended = [first + n for n, state in enumerate(states) if state in "dx"]
    read = in_parallel(lambda shard: visit.cards.results.outcome(view, shard), ended)
    found = dict(zip(ended, read, strict=True))
    each = [found.get(first + n) for n in range(len(states))]
    return OutcomesDocument(
        first=first,
        attempts=[None if o is None else o.attempts for o in each],
        failed=[
            None if o is None else o.item_count if o.status == "dead" else len(o.item_errors)
            for o in each
        ],
        seconds=[
            None if o is None else round((o.committed_at - o.began_at).total_seconds(), 3)
            for o in each
        ],
    )


@router.get("")
def go(visit: TheJobVisit, shard: Annotated[int, Query(ge=0)]) -> RedirectResponse:
    """The page of a shard by its number, for the form beside the map."""
    path = f"/jobs/{visit.manifest.job_id}/shards/{shard}"
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


@router.get("/{shard}")
def one(shard: int, visit: TheJobVisit) -> HTMLResponse:
    """A shard: its outcome, and its items."""
    view = visit.results
    shards = view.manifest.shards
    if not 0 <= shard < len(shards):
        raise visit.not_found(f"shard {shard}; it has {len(shards)}, numbered from 0")
    first, count = shards.starts[shard], shards.item_counts[shard]
    outcome = visit.cards.results.outcome(view, shard)
    shown = range(first, first + min(count, _CARDS)) if outcome is not None else ()
    return visit.render(
        "shard",
        shard=shard,
        spec=shards[shard],
        first=first,
        count=count,
        state=_WORDS[states_of(view)[shard]],
        outcome=outcome,
        cards=visit.cards.some(view, shown),
    )


_WORDS = {
    "d": "done",
    "x": "dead",
    "r": "running",
    "q": "queued",
    "w": "waiting for room in the queue",
    "n": "not run",
}


def states_of(view: View) -> str:
    """A letter for each shard."""
    count = len(view.manifest.shards)
    if view.final is not None:
        states = bytearray(b"n" * count)
        _mark(states, from_ranges(view.final.outcome_ranges), b"d")
        _mark(states, from_ranges(view.final.dead_ranges), b"x")
        return states.decode()
    states = bytearray(b"w" * count)
    if view.progress is not None:
        _mark(states, view.progress.enqueued, b"q")
        _mark(states, view.progress.running, b"r")
        _mark(states, view.progress.done, b"d")
        _mark(states, view.progress.dead, b"x")
    return states.decode()


def _mark(states: bytearray, shards: Iterable[int], letter: bytes) -> None:
    # Redis may name shards that the job does not have.
    for shard in shards:
        if shard < len(states):
            states[shard] = letter[0]


def _runs(states: str) -> Iterator[str]:
    for state, run in groupby(states):
        length = sum(1 for _ in run)
        yield state if length == 1 else f"{state}{length}"
