"""One job that is followed: looked at once for all who follow it."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fornada.errors import FornadaError
from fornada.jobs.outcome import JobFinal
from fornada.logs import get_logger
from fornada.ranges import to_ranges
from fornada.repeated import Repeated
from gateway.api.job_document import JobDocument
from producer.following.looking import Look
from producer.following.waiting import AsyncJobWatch, Due
from producer.job import Job
from producer.listing.shards import ShardState, ended_states, open_states

log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What was seen of a job, as events say it."""

    #: Counted from 1.
    number: int
    ended: bool
    #: The job's document.
    document: bytes
    #: The state of each shard, if somebody asks.
    states: Sequence[ShardState] = ()
    #: The shards whose state is another one than in the view before, by state; and all shards.
    changes: bytes = b""
    shards: bytes = b""


class JobFeed:
    """Follows one job in the running event loop, until it has ended or `stop` is called."""

    def __init__(self, job: Job, *, shards: bool) -> None:
        """Begin to follow `job`; with `shards`, views have the states of its shards."""
        self._job = job
        self._manifest = job.manifest
        self._looks = job.looks()
        self._shards = shards
        self._repeated = Repeated()
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        #: The last one, once there is one.
        self.view: View | None = None
        self.follower_count = 0

    async def wait(self, seen: View | None, *, timeout_s: float) -> View | None:
        """A newer view than the one `seen`, or the same after `timeout_s`."""
        if self.view is seen and not self._task.done():
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                return seen
        return self.view

    @property
    def is_over(self) -> bool:
        """Whether no newer view comes."""
        return self._task.done()

    def stop(self) -> None:
        """Follow the job no more; those who wait go on at once."""
        self._task.cancel()
        self._tell()

    async def _run(self) -> None:
        notices = self._job.notices
        async with AsyncJobWatch(self._job.id, notices=notices, glances=True) as watch:
            await watch.begin()
            await self._see(self._looks.look)
            while self.view is None or not self.view.ended:
                due = await watch.wait()
                await self._see(self._looks.look if due is Due.LOOK else self._looks.glance)
        self._tell()

    async def _see(self, look: Callable[[], Look]) -> None:
        try:
            view = await asyncio.to_thread(lambda: self._view(look()))
        except FornadaError as exc:
            what = "followed job not seen"
            self._repeated.log(log.warning, what, about=str(exc), error=str(exc))
            return
        if self.view is None or view.document != self.view.document or view.changes:
            self.view = view
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _view(self, look: Look) -> View:
        before = self.view
        states = self._states(look) if self._shards else []
        known = before.states if before is not None else [None] * len(states)
        changed = [n for n, (was, now) in enumerate(zip(known, states, strict=True)) if was != now]
        return View(
            number=1 if before is None else before.number + 1,
            ended=look.status.ended,
            document=JobDocument.of(self._manifest, look.status).model_dump_json().encode(),
            states=states,
            changes=_by_state(states, changed) if changed else b"",
            shards=_by_state(states, range(len(states))) if self._shards else b"",
        )

    def _states(self, look: Look) -> list[ShardState]:
        if isinstance(look.seen, JobFinal):
            return list(ended_states(self._manifest, look.seen).values())
        return list(open_states(self._manifest, look.seen).values())


def _by_state(states: Sequence[ShardState], shards: Sequence[int]) -> bytes:
    found: dict[str, list[int]] = {}
    for shard in shards:
        found.setdefault(states[shard], []).append(shard)
    ranges = {state: to_ranges(numbers) for state, numbers in found.items()}
    return json.dumps(ranges, separators=(",", ":")).encode()
