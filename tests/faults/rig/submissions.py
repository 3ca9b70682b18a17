"""Jobs that are submitted while everything breaks, each held to what it was given."""

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fornada import keys
from fornada.errors import FornadaError
from producer.client import Client
from producer.job import Job

from .deployment import ITEM_SHAPE, ITEMS_PER_SHARD, Deployment, Images

_OPEN_JOBS = 20
_WHY_CHARACTERS = 300


@dataclass(eq=False)
class _Accepted:
    """A job that `submit` returned."""

    job: Job
    images: Images
    is_cancelled: bool = False


class Submissions:
    """Submits jobs of the model `m` as others end; each submission is repeated until accepted.

    Args:
        deployment: Looks at the store, whatever happens to the client.
        client: Submits.
        chance: Decides about sizes.
    """

    def __init__(self, deployment: Deployment, client: Client, chance: random.Random) -> None:
        self._deployment = deployment
        self._client = client
        self._chance = chance
        self._pixels = np.random.default_rng(chance.randrange(2**32))
        self.accepted: list[_Accepted] = []
        self._open: list[_Accepted] = []
        self._named_count = 0
        #: Errors of submissions, by type.
        self.refused: Counter[str] = Counter()

    @property
    def next_id(self) -> str:
        """The id of the next job that is not small."""
        return f"storm-{self._named_count}"

    def any_open(self) -> Job:
        """One of the jobs that are open, or were just now."""
        return self._chance.choice(self._open or self.accepted[-1:]).job

    def submit_some(self) -> None:
        """Submit one job of many shards, or several small ones, if few are open."""
        final = self._deployment.jobs.final
        self._open = [each for each in self._open if final(each.job.id) is None]
        if len(self._open) > _OPEN_JOBS:
            time.sleep(0.2)
            return
        one_of_many = self._chance.random() < 1 / 3
        new = self._submit_one() if one_of_many else self._submit_small()
        self.accepted += new
        self._open = self._open + new
        if self._chance.random() < 1 / 20:
            self._cancel(new[-1])

    def without_end(self) -> set[str]:
        """Ids of all jobs in the store that have not ended, accepted or not."""
        ids: dict[str, set[str]] = {"manifest.json": set(), "final.json": set()}
        for info in self._deployment.objects.list(keys.JOBS_PREFIX):
            job_id, _, name = info.key.removeprefix(keys.JOBS_PREFIX).partition("/")
            if name in ids:
                ids[name].add(job_id)
        accepted = {each.job.id for each in self.accepted}
        return (ids["manifest.json"] | accepted) - ids["final.json"]

    def ends(self) -> Counter[str]:
        """States of accepted jobs that have ended."""
        finals = [self._deployment.jobs.final(each.job.id) for each in self.accepted]
        return Counter(final.state for final in finals if final is not None)

    def wrong(self) -> dict[str, str]:
        """Accepted job that did not end as an undisturbed one → why."""
        wrong = {}
        for each in self.accepted:
            try:
                self._check(each)
            except (AssertionError, FornadaError) as exc:
                wrong[each.job.id] = str(exc)[:_WHY_CHARACTERS]
        return wrong

    def _check(self, each: _Accepted) -> None:
        self._deployment.check(each.job, images=each.images)
        state = each.job.status().state
        if each.is_cancelled and state == "CANCELLED":
            return
        expected = self._deployment.predict(each.images)
        assert ("PARTIAL" if np.isnan(expected).any() else "SUCCEEDED") == state
        # As a user reads it.
        assert expected.tobytes() == each.job.results().probabilities.tobytes()

    def _submit_one(self) -> list[_Accepted]:
        job_id, images = self.next_id, self._images(self._chance.choice([5, 50, 120]))
        [job] = self._until_accepted(
            lambda: [self._client.submit(images, model="m:1", idempotency_key=job_id)]
        )
        self._named_count += 1
        return [_Accepted(job, images)]

    def _submit_small(self) -> list[_Accepted]:
        each = [self._images(1) for _ in range(self._chance.randint(1, 20))]
        jobs = self._until_accepted(lambda: list(self._client.submit_many(each, model="m:1")))
        return [_Accepted(job, images) for job, images in zip(jobs, each, strict=True)]

    def _until_accepted(self, submit: Callable[[], Sequence[Job]]) -> Sequence[Job]:
        while True:
            try:
                return submit()
            except FornadaError as exc:
                self.refused[type(exc).__name__] += 1

    def _cancel(self, accepted: _Accepted) -> None:
        accepted.is_cancelled = True
        with contextlib.suppress(FornadaError):
            accepted.job.cancel()

    def _images(self, shards: int) -> Images:
        return self._pixels.integers(0, 256, (shards * ITEMS_PER_SHARD, *ITEM_SHAPE), np.uint8)
