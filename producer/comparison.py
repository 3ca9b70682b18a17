"""Run two model versions on the same items, as two jobs, and compare their results."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fornada.errors import UsageError
from fornada.records import Task
from producer.client import Client
from producer.inputs.interface import Inputs
from producer.job import Job
from producer.results import Results

#: Tag that both jobs have, with the same value.
COMPARES = "compares"
#: How far the sum of a probability distribution may be from 1.
_SUM_TOLERANCE = 1e-3
#: Floor of probabilities: zero would make the divergence infinite.
_LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True, kw_only=True, slots=True)
class Flip:
    """An item whose likeliest class differs."""

    item_id: str
    first: str
    second: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassComparison:
    """What changed for one class."""

    name: str
    #: Items of which it is the likeliest class, by model.
    items_first: int
    items_second: int
    #: Items that the second model moves out of this class, and into it.
    flips_from: int
    flips_to: int
    #: Absolute change of its probability, over all items.
    largest_change: float
    mean_change: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueComparison:
    """What changed for one value of a regression."""

    name: str
    #: Over all items, by model.
    mean_first: float
    mean_second: float
    #: Absolute change, over all items.
    largest_change: float
    mean_change: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How two models differ, over the items that both have a result for."""

    first: str
    second: str
    task: Task
    items: int
    #: Items without a result from one of them.
    items_left_out: int
    #: Empty for a regression.
    flips: list[Flip]
    #: Largest absolute change of a probability or value, and the item it occurs in.
    largest_change: float
    largest_change_item: str
    #: Mean absolute change of all probabilities or values.
    mean_change: float
    #: Kullback-Leibler divergence of the second model from the first, in nats; `None` if rows are
    #: not probability distributions.
    mean_divergence: float | None
    largest_divergence: float | None
    #: Empty for a regression.
    classes: list[ClassComparison]
    #: Empty for a classifier.
    values: list[ValueComparison]


def submit_both(
    client: Client, images: Callable[[], Inputs], *, first: str, second: str
) -> tuple[Job, Job]:
    """Submit the same images to two models.

    Args:
        client: Submits them.
        images: Returns the images, anew at each call.
        first: `name:version`, `name@alias` or `name`.
        second: The same.

    Raises:
        UsageError: The models have different outputs, or are the same version.
        FornadaError: As `Client.submit`.
    """
    manifests = client.model(first), client.model(second)
    if manifests[0].pin == manifests[1].pin:
        raise UsageError(f"{first} and {second} are both {manifests[0]}; name two versions")
    if manifests[0].task != manifests[1].task or manifests[0].classes != manifests[1].classes:
        raise UsageError(
            f"{manifests[0]} and {manifests[1]} have different outputs and cannot be compared; "
            "see `fornada models diff`"
        )
    tags = {COMPARES: f"{manifests[0]} {manifests[1]} {secrets.token_hex(4)}"}
    one, other = (client.submit(images(), model=str(m), tags=tags) for m in manifests)
    return one, other


def compare_results(first: Results, second: Results) -> Comparison:
    """Compare the results of two models for the same items.

    Raises:
        UsageError: Items or classes differ, or no item has both results.
    """
    if (first.task, first.classes, first.item_ids) != (
        second.task,
        second.classes,
        second.item_ids,
    ):
        raise UsageError("the two jobs have different items or classes; submit them again")
    both = np.isnan(first.probabilities) | np.isnan(second.probabilities)
    usable: NDArray[np.bool_] = np.logical_not(both.any(axis=1))
    if not usable.any():
        raise UsageError(
            f"none of {len(usable)} items has a result from both models; see `fornada jobs results`"
        )
    ids = [item_id for item_id, use in zip(first.item_ids, usable, strict=True) if use]
    one, other = first.probabilities[usable], second.probabilities[usable]
    change = np.abs(other - one)
    of_classes = first.task == "classification"
    divergence = _divergence(one, other) if of_classes else None
    return Comparison(
        first=first.model,
        second=second.model,
        task=first.task,
        items=len(ids),
        items_left_out=int((~usable).sum()),
        flips=list(_flips(one, other, ids, first.classes)) if of_classes else [],
        largest_change=float(change.max()),
        largest_change_item=ids[int(change.max(axis=1).argmax())],
        mean_change=float(change.mean()),
        mean_divergence=None if divergence is None else float(divergence.mean()),
        largest_divergence=None if divergence is None else float(divergence.max()),
        classes=list(_by_class(one, other, first.classes)) if of_classes else [],
        values=[] if of_classes else list(_by_value(one, other, first.classes)),
    )


def _flips(
    one: NDArray[np.float32], other: NDArray[np.float32], ids: list[str], classes: list[str]
) -> Iterator[Flip]:
    was, becomes = one.argmax(axis=1), other.argmax(axis=1)
    for index in np.flatnonzero(was != becomes):
        yield Flip(item_id=ids[index], first=classes[was[index]], second=classes[becomes[index]])


def _by_class(
    one: NDArray[np.float32], other: NDArray[np.float32], classes: list[str]
) -> Iterator[ClassComparison]:
    was, becomes = one.argmax(axis=1), other.argmax(axis=1)
    change = np.abs(other - one)
    for index, name in enumerate(classes):
        before, after = was == index, becomes == index
        yield ClassComparison(
            name=name,
            items_first=int(before.sum()),
            items_second=int(after.sum()),
            flips_from=int((before & ~after).sum()),
            flips_to=int((after & ~before).sum()),
            largest_change=float(change[:, index].max()),
            mean_change=float(change[:, index].mean()),
        )


def _by_value(
    one: NDArray[np.float32], other: NDArray[np.float32], names: list[str]
) -> Iterator[ValueComparison]:
    change = np.abs(other - one)
    for index, name in enumerate(names):
        yield ValueComparison(
            name=name,
            mean_first=float(one[:, index].mean()),
            mean_second=float(other[:, index].mean()),
            largest_change=float(change[:, index].max()),
            mean_change=float(change[:, index].mean()),
        )


def _divergence(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """float64 [items], in nats."""
    for rows in (one, other):
        if rows.min() < 0 or np.abs(rows.sum(axis=1, dtype=np.float64) - 1).max() > _SUM_TOLERANCE:
            return None
    p, q = (np.maximum(rows.astype(np.float64), _LEAST_PROBABILITY) for rows in (one, other))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    divergence: NDArray[np.float64] = (p * np.log(p / q)).sum(axis=1)
    return divergence
