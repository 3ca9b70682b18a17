"""Run two model versions on the same items, as two jobs, and compare their results."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import UsageError
from fornada.formats.tensor_file import Column
from fornada.tensors import CLASS_KINDS, Kind, OutputTensor
from producer.client import Client
from producer.inputs.interface import Inputs
from producer.item_results import Label, OutputResults, classes_of
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
    """An item whose class differs, or for kind multilabel the classes that apply."""

    item_id: str
    first: Label
    second: Label


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassComparison:
    """What changed for one class."""

    name: str
    #: Items of this class, by model.
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
    """What changed for one named value."""

    name: str
    #: Over all items, by model.
    mean_first: float
    mean_second: float
    #: Absolute change, over all items.
    largest_change: float
    mean_change: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CosineDistances:
    """How far the directions of embeddings are apart: 0 for the same, 2 for opposite ones."""

    mean: float
    largest: float
    largest_item: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputComparison:
    """How an output of two models differs, over the items that both have a finite result for."""

    #: Its name.
    output: str
    kind: Kind
    items: int
    #: Items without a finite result from one of them.
    items_left_out: int
    #: Items whose shapes differ, where the output's shape is open; their numbers are not compared.
    shapes_differing: int
    #: Empty unless the models name classes.
    flips: list[Flip]
    #: Largest absolute change of a number, and the item it occurs in, unless all differ in shape;
    #: texts change by 0 or 1.
    largest_change: float
    largest_change_item: str | None
    #: Mean absolute change of all numbers.
    mean_change: float
    #: Kullback-Leibler divergence of the second model from the first, in nats; `None` unless an
    #: item's probabilities are a distribution.
    mean_divergence: float | None
    largest_divergence: float | None
    #: Empty unless the models name classes.
    classes: list[ClassComparison]
    #: Empty unless the models give values.
    values: list[ValueComparison]
    #: Only of embeddings.
    cosine_distances: CosineDistances | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How two models differ, output by output."""

    first: str
    second: str
    outputs: list[OutputComparison]


def submit_both(
    client: Client, inputs: Callable[[], Inputs], *, first: str, second: str
) -> tuple[Job, Job]:
    """Submit the same items to two models.

    Args:
        client: Submits them.
        inputs: Returns the items, anew at each call.
        first: `name:version`, `name@alias` or `name`.
        second: The same.

    Raises:
        UsageError: The models have different outputs, or are the same version.
        FornadaError: As `Client.submit`.
    """
    manifests = client.model(first), client.model(second)
    if manifests[0].pin == manifests[1].pin:
        raise UsageError(f"{first} and {second} are both {manifests[0]}; name two versions")
    if not _are_comparable(*(manifest.outputs for manifest in manifests)):
        raise UsageError(
            f"{manifests[0]} and {manifests[1]} have different outputs and cannot be compared; "
            "see `fornada models diff`"
        )
    tags = {COMPARES: f"{manifests[0]} {manifests[1]} {secrets.token_hex(4)}"}
    one, other = (client.submit(inputs(), model=str(m), tags=tags) for m in manifests)
    return one, other


def compare_results(first: Results, second: Results) -> Comparison:
    """Compare the results of two models for the same items.

    Raises:
        UsageError: Items or outputs differ, or no item has both results.
    """
    if first.item_ids != second.item_ids or not _are_comparable(first.gives, second.gives):
        raise UsageError("the two jobs have different items or outputs; submit them again")
    pairs = zip(first.gives, _partners(first.gives, second.gives), strict=True)
    return Comparison(
        first=first.model,
        second=second.model,
        outputs=[
            _compare_output(first[one.name], second[other.name], first.item_ids)
            for one, other in pairs
        ],
    )


def _compare_output(
    first: OutputResults, second: OutputResults, item_ids: Sequence[str]
) -> OutputComparison:
    kind, finite = first.output.kind, first.is_finite & second.is_finite
    fits = _same_shapes(first.rows, second.rows)
    usable = finite & fits
    if not finite.any():
        raise UsageError(
            f"none of {len(finite)} items has a result from both models; see `fornada jobs results`"
        )
    ids = list(compress(item_ids, usable))
    largest, mean = _changes(_chosen(first.rows, usable), _chosen(second.rows, usable))
    has_classes, is_tensor = kind in CLASS_KINDS, kind == "tensor"
    has_values = kind == "values" and first.output.dtype != "string"
    one, other = (np.zeros((0, 0)) if is_tensor else r.matrix[usable] for r in (first, second))
    divergence = _divergence(one, other, kind)
    return OutputComparison(
        output=first.output.name,
        kind=kind,
        items=len(ids),
        items_left_out=int((~finite).sum()),
        shapes_differing=int((finite & ~fits).sum()),
        flips=list(_flips(first, second, usable, item_ids)) if has_classes else [],
        largest_change=float(largest.max(initial=0)),
        largest_change_item=ids[int(largest.argmax())] if ids else None,
        mean_change=mean,
        mean_divergence=None if divergence is None else float(divergence.mean()),
        largest_divergence=None if divergence is None else float(divergence.max()),
        classes=list(_by_class(first, second, usable)) if has_classes else [],
        values=list(_by_value(one, other, first.classes)) if has_values else [],
        cosine_distances=_cosine_distances(one, other, ids) if kind == "embedding" else None,
    )


def _are_comparable(first: Sequence[OutputTensor], second: Sequence[OutputTensor]) -> bool:
    """Whether their numbers mean the same; thresholds may differ."""
    partners = _partners(first, second)
    return len(first) == len(partners) and all(
        _meaning(one) == _meaning(other) for one, other in zip(first, partners, strict=True)
    )


def _partners(
    first: Sequence[OutputTensor], second: Sequence[OutputTensor]
) -> Sequence[OutputTensor]:
    """The outputs of `second` in the order of `first`; one alone may have any name."""
    if len(first) == len(second) == 1:
        return second
    named = {output.name: output for output in second}
    names = [output.name for output in first]
    return [named[name] for name in names] if {*names} == {*named} else []


def _meaning(output: OutputTensor) -> tuple[object, ...]:
    is_text = output.dtype == "string"
    return (
        output.kind,
        classes_of(output),
        [side for side in output.shape if side != 1],
        is_text,
        output.is_open and len(output.shape),
    )


def _same_shapes(one: Column, other: Column) -> NDArray[np.bool_]:
    """Bool [items]."""
    if isinstance(one, list) or isinstance(other, list):
        pairs = zip(one, other, strict=True)
        return np.array([was.shape == becomes.shape for was, becomes in pairs], np.bool_)
    return np.ones(len(one), np.bool_)


def _chosen(column: Column, usable: NDArray[np.bool_]) -> Column:
    return list(compress(column, usable)) if isinstance(column, list) else column[usable]


def _changes(one: Column, other: Column) -> tuple[NDArray[np.float64], float]:
    """The largest absolute change of each item, float64 [items], and the mean of all numbers."""
    if isinstance(one, list) or isinstance(other, list):
        changes = [_change(*pair) for pair in zip(one, other, strict=True)]
        largest = np.array([change.max(initial=0) for change in changes], np.float64)
        count = sum(change.size for change in changes)
        return largest, sum(float(change.sum()) for change in changes) / max(1, count)
    change = _change(one, other.reshape(one.shape)).reshape(len(one), -1)
    return change.max(axis=1, initial=0), float(change.sum(dtype=np.float64)) / max(1, change.size)


def _change(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    if one.dtype.hasobject:
        return np.asarray(one != other, np.float64)
    are_floats = one.dtype.kind == other.dtype.kind == "f"
    changed: NDArray[Any] = np.abs(
        other - one if are_floats else other.astype(np.float64) - one.astype(np.float64)
    )
    return changed


def _flips(
    first: OutputResults,
    second: OutputResults,
    usable: NDArray[np.bool_],
    item_ids: Sequence[str],
) -> Iterator[Flip]:
    labels = zip(item_ids, first.labels, second.labels, usable.tolist(), strict=True)
    for item_id, was, becomes, use in labels:
        if use and was != becomes:
            yield Flip(item_id=item_id, first=was, second=becomes)


def _by_class(
    first: OutputResults, second: OutputResults, usable: NDArray[np.bool_]
) -> Iterator[ClassComparison]:
    was, becomes = first.applies[usable], second.applies[usable]
    change = np.abs(second.matrix - first.matrix)[usable]
    for index, name in enumerate(first.classes):
        before, after = was[:, index], becomes[:, index]
        # The only number of a binary output says all of both classes.
        changed = change[:, min(index, change.shape[1] - 1)]
        yield ClassComparison(
            name=name,
            items_first=int(before.sum()),
            items_second=int(after.sum()),
            flips_from=int((before & ~after).sum()),
            flips_to=int((after & ~before).sum()),
            largest_change=float(changed.max()),
            mean_change=float(changed.mean()),
        )


def _by_value(
    one: NDArray[Any], other: NDArray[Any], names: list[str]
) -> Iterator[ValueComparison]:
    change = _change(one, other)
    for index, name in enumerate(names):
        yield ValueComparison(
            name=name,
            mean_first=float(one[:, index].mean()),
            mean_second=float(other[:, index].mean()),
            largest_change=float(change[:, index].max()),
            mean_change=float(change[:, index].mean()),
        )


def _divergence(one: NDArray[Any], other: NDArray[Any], kind: Kind) -> NDArray[np.float64] | None:
    """float64 [items], in nats."""
    if kind == "binary":
        one, other = (np.hstack([1 - rows, rows]) for rows in (one, other))
    elif kind != "probabilities":
        return None
    for rows in (one, other):
        if rows.min() < 0 or np.abs(rows.sum(axis=1, dtype=np.float64) - 1).max() > _SUM_TOLERANCE:
            return None
    p, q = (np.maximum(rows.astype(np.float64), _LEAST_PROBABILITY) for rows in (one, other))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    divergence: NDArray[np.float64] = (p * np.log(p / q)).sum(axis=1)
    return divergence


def _cosine_distances(one: NDArray[Any], other: NDArray[Any], ids: list[str]) -> CosineDistances:
    """A vector of zeros has no direction: it is 0 from another one, and 1 from any other."""
    p, q = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(p, axis=1), np.linalg.norm(q, axis=1)
    product = lengths[0] * lengths[1]
    both_zero = (lengths[0] == 0) & (lengths[1] == 0)
    cosines = np.where(both_zero, 1.0, (p * q).sum(axis=1) / np.where(product == 0, 1, product))
    distances = 1 - np.clip(cosines, -1, 1)
    return CosineDistances(
        mean=float(distances.mean()),
        largest=float(distances.max()),
        largest_item=ids[int(distances.argmax())],
    )
