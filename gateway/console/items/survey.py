"""What a part of a job's outcomes says of all: stages, classes, and how certain the model is."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from fornada.parallel import in_parallel
from fornada.ranges import from_ranges
from fornada.tensors import BINARY_CLASSES, CLASS_KINDS, OutputTensor
from gateway.console.items.shard_results import read_results
from gateway.console.job_access import View
from gateway.recent import Recent
from producer.item_results import OutputResults

#: Of a job with more, shards all over it are read.
_MOST_SHARDS = 96
_MOST_ITEMS = 50_000
_FRESH_S = 10.0
_MOST_WORKERS = 12
_MOST_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A stage of a shard, and the median of what it took."""

    name: str
    median_s: float
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Certainty:
    """How certain the model is of the items that were read."""

    output: OutputTensor
    classes: list[str]
    #: Numbers of items, int64 [items], the least certain first.
    items: NDArray[np.int64]
    #: Of each, the number of its likeliest class.
    labels: NDArray[np.int64]

    def of_class(self, name: str) -> NDArray[np.int64]:
        """The items of a class, in the same order; all for an unknown one."""
        if name not in self.classes:
            return self.items
        return np.asarray(self.items[self.labels == self.classes.index(name)], np.int64)

    @property
    def counts(self) -> list[tuple[str, int, float]]:
        """Each class with its items and their share, in the model's order."""
        found = np.bincount(self.labels, minlength=len(self.classes)).tolist()
        total = max(1, len(self.labels))
        return [
            (name, count, count / total) for name, count in zip(self.classes, found, strict=True)
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A shard, and who computed it."""

    worker: str
    engine: str | None
    items: int
    at: datetime
    busy_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What was found."""

    shards: int = 0
    items: int = 0
    #: Shards with a result, of which `shards` were read.
    shards_done: int = 0
    stages: list[Stage] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    #: Median seconds from the begin of a shard to its commit.
    shard_s: float | None = None
    certainty: Certainty | None = None

    @property
    def workers(self) -> list[tuple[str, int]]:
        """Who computed the most of them, and how many."""
        return Counter(each.worker for each in self.seen).most_common(_MOST_WORKERS)

    @property
    def engines(self) -> list[str]:
        """What computed them."""
        return sorted({each.engine for each in self.seen if each.engine})

    @property
    def is_whole(self) -> bool:
        """Whether nothing was left out."""
        return self.shards == self.shards_done and self.items == sum(e.items for e in self.seen)


class Surveys:
    """Surveys of jobs, each made once for all pages. Safe to share between threads."""

    def __init__(self, *, jobs: JobStore) -> None:
        self._jobs = jobs
        self._made: Recent[Survey] = Recent(fresh_s=_FRESH_S)

    def of(self, view: View) -> Survey:
        """The survey of a job; of an open one, as it was some seconds ago.

        Raises:
            IntegrityError, StoreError: As `survey_of`.
        """
        has_ended = view.final is not None
        key = (view.manifest.job_id, view.manifest.created_at, has_ended)
        return self._made.get(key, lambda: survey_of(view, jobs=self._jobs), for_ever=has_ended)


def survey_of(view: View, *, jobs: JobStore) -> Survey:
    """Read shards of a job, at most about a hundred, and sum them up.

    Raises:
        IntegrityError: Stored bytes are not those that were committed.
        StoreError: The store cannot be reached.
    """
    done = _done(view)
    at = np.unique(np.linspace(0, len(done) - 1, min(len(done), _MOST_SHARDS)).astype(int))
    outcomes = [
        outcome
        for outcome in in_parallel(lambda n: _outcome(view, done[n], jobs), at.tolist())
        if outcome is not None and outcome.status == "ok"
    ]
    if not outcomes:
        return Survey(shards_done=len(done))
    seen = [
        Seen(
            worker=outcome.worker,
            engine=outcome.engine,
            items=outcome.item_count,
            at=outcome.committed_at,
            busy_s=(outcome.committed_at - outcome.began_at).total_seconds(),
        )
        for outcome in outcomes
    ]
    few = _that_fit(outcomes)
    return Survey(
        shards=len(outcomes),
        items=sum(outcome.item_count for outcome in few),
        shards_done=len(done),
        stages=_stages(outcomes),
        seen=seen,
        shard_s=statistics.median(each.busy_s for each in seen),
        certainty=_certainty(view, few, jobs),
    )


def _done(view: View) -> Sequence[int]:
    if view.final is not None:
        dead = set(from_ranges(view.final.dead_ranges))
        return [n for n in from_ranges(view.final.outcome_ranges) if n not in dead]
    if view.progress is None:
        return []
    count = len(view.manifest.shards)
    return sorted(n for n in view.progress.done - view.progress.dead if n < count)


def _outcome(view: View, shard: int, jobs: JobStore) -> ShardOutcome | None:
    if view.final is not None:
        return jobs.counted_outcome(view.final, shard)
    return jobs.outcome(view.manifest.job_id, shard)


def _that_fit(outcomes: Sequence[ShardOutcome]) -> list[ShardOutcome]:
    """As many as may be read, all over the job."""
    items = sum(outcome.item_count for outcome in outcomes)
    size_bytes = sum(outcome.data.size_bytes for outcome in outcomes if outcome.data)
    step = max(1, -(-items // _MOST_ITEMS), -(-size_bytes // _MOST_BYTES))
    return list(outcomes[::step])


def _stages(outcomes: Sequence[ShardOutcome]) -> list[Stage]:
    spent = {
        "fetch": [outcome.fetch_s for outcome in outcomes],
        "decode": [outcome.decode_s or 0.0 for outcome in outcomes],
        "predict": [outcome.predict_s for outcome in outcomes],
        "upload": [outcome.upload_s for outcome in outcomes],
    }
    medians = {name: statistics.median(each) for name, each in spent.items()}
    total = sum(medians.values())
    if not total:
        return []
    return [Stage(name=n, median_s=s, share=s / total) for n, s in medians.items()]


def _certainty(view: View, outcomes: list[ShardOutcome], jobs: JobStore) -> Certainty | None:
    output = next((each for each in view.manifest.gives if each.kind in CLASS_KINDS), None)
    if output is None:
        return None
    items, scores, labels = [], [], []
    for result in read_results(view.manifest, outcomes, jobs=jobs):
        found = result[output.name]
        known = np.flatnonzero(found.is_finite)
        score, label = _scored(found)
        items.append(result.first_item + known)
        scores.append(score[known])
        labels.append(label[known])
    order = np.argsort(np.concatenate(scores), kind="stable")
    names = list(output.columns)
    if output.kind == "binary":
        names = list(output.classes or BINARY_CLASSES)
    return Certainty(
        output=output,
        classes=names,
        items=np.concatenate(items)[order].astype(np.int64),
        labels=np.concatenate(labels)[order],
    )


def _scored(found: OutputResults) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How certain the model is of each item, and the item's likeliest class."""
    matrix, output = found.matrix.astype(np.float64), found.output
    if output.kind == "probabilities":
        return matrix.max(axis=1), matrix.argmax(axis=1)
    far = np.abs(matrix - output.least_probability)
    if output.kind == "binary":
        return far[:, 0], (matrix[:, 0] >= output.least_probability).astype(np.int64)
    return far.min(axis=1), matrix.argmax(axis=1)
