"""What a job took and predicted, as people and programs are shown it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from fornada.figures.predictions import CONFIDENCE_ENDS, OutputFigures, class_names
from fornada.figures.shards import JobFigures
from fornada.tensors import Kind, OutputTensor


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassItems:
    """How many items have a class."""

    name: str
    items: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfidenceItems:
    """How many items have a confidence above the bin before, and at most `up_to`."""

    up_to: float
    items: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictedFigures:
    """What one output predicted, over the items with a result.

    The confidence of an item is the probability of its class; of labels that apply together, that
    of the least certain one.
    """

    #: Its name.
    output: str
    kind: Kind
    items: int
    #: In the model's order; empty of more than 100.
    classes: list[ClassItems]
    #: `None` without items.
    mean_confidence: float | None
    #: What a tenth, two tenths … nine tenths of the items have at most; within its bin, each is
    #: interpolated. Empty without items.
    confidence_deciles: list[float]
    confidence: list[ConfidenceItems]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What a job took and predicted, as the workers measured it.

    `shards` of its shards have figures. `cost` is `cpu_s` at the workers' price, if each has one.
    """

    #: How many shards have figures: not dead ones, nor those of workers of an older release.
    shards: int
    #: CPU seconds of the workers, model loads included; not of attempts that came to nothing.
    cpu_s: float
    #: Bytes of inputs that were read, and of results.
    bytes_in: int
    bytes_out: int
    #: `cpu_s` at the workers' FORNADA_PRICE_PER_CPU_HOUR; `None` unless all have one.
    cost: float | None
    #: Of each output that names classes.
    predicted: list[PredictedFigures]

    @classmethod
    def of(cls, figures: JobFigures, gives: Sequence[OutputTensor]) -> "Figures":
        """The figures of a job, with the names that its outputs have."""
        return cls(
            shards=figures.shards,
            cpu_s=figures.cpu_s,
            bytes_in=figures.bytes_in,
            bytes_out=figures.bytes_out,
            cost=figures.cost,
            predicted=[
                _predicted(output, figures.predicted[output.name])
                for output in gives
                if output.name in figures.predicted
            ],
        )


def _predicted(output: OutputTensor, found: OutputFigures) -> PredictedFigures:
    names = class_names(output)
    return PredictedFigures(
        output=output.name,
        kind=output.kind,
        items=found.item_count,
        classes=[
            ClassItems(name=name, items=items)
            for name, items in zip(names, found.classes or (), strict=False)
        ],
        mean_confidence=found.mean_confidence,
        confidence_deciles=_deciles(found.confidence),
        confidence=[
            ConfidenceItems(up_to=up_to, items=items)
            for up_to, items in zip(CONFIDENCE_ENDS, found.confidence, strict=True)
        ],
    )


def _deciles(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    if not total:
        return []
    limits = list(pairwise((0.0, *CONFIDENCE_ENDS)))
    deciles, number, before = [], 0, 0
    for tenth in range(1, 10):
        wanted = total * tenth / 10
        while before + counts[number] < wanted:
            before += counts[number]
            number += 1
        low, high = limits[number]
        deciles.append(round(low + (high - low) * (wanted - before) / counts[number], 6))
    return deciles
