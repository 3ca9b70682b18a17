"""What a job predicted beside what was expected of its model, output by output."""

from collections.abc import Sequence
from dataclasses import dataclass

from fornada.figures.predictions import CONFIDENCE_ENDS, OutputFigures, class_names
from fornada.figures.shifts import VERDICTS, Shift, Verdict, shift_of
from fornada.tensors import Kind, OutputTensor


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassShare:
    """The share of the items that have a class, here and as expected."""

    name: str
    share: float
    expected: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfidenceShare:
    """The share of the items whose confidence is above the bin before and at most `up_to`."""

    up_to: float
    share: float
    expected: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputDrift:
    """How the predictions of one output differ from what is expected."""

    #: Its name.
    output: str
    kind: Kind
    #: Items with a result, here and expected.
    items: int
    expected_items: int
    #: Both empty and `None` of an output with more than 100 classes.
    classes: list[ClassShare]
    #: Of the classes; of labels that apply together, that of the label which shifted most.
    class_shift: Shift | None
    confidence: list[ConfidenceShare]
    confidence_shift: Shift
    mean_confidence: float
    expected_mean_confidence: float

    @property
    def shifts(self) -> list[Shift]:
        """All of them."""
        return [s for s in (self.class_shift, self.confidence_shift) if s is not None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """How the predictions of a job differ from what is expected."""

    job_id: str
    model: str
    #: What it is compared with: `the test items of digits:1`, or `job 2026…`.
    against: str
    #: The gravest of all shifts.
    verdict: Verdict
    outputs: list[OutputDrift]


def gravest(outputs: Sequence[OutputDrift]) -> Verdict:
    """The gravest verdict of all shifts."""
    found = [shift.verdict for output in outputs for shift in output.shifts]
    return max(found, key=VERDICTS.index, default="stable")


def output_drift(
    output: OutputTensor, found: OutputFigures, expected: OutputFigures
) -> OutputDrift | None:
    """The drift of one output; `None` if there are no items to compare.

    Args:
        output: What the figures are of.
        found: Those of a job.
        expected: What they are compared with.
    """
    confidence_shift = shift_of(expected.confidence, found.confidence)
    if confidence_shift is None:
        return None
    pairs = list(zip(found.classes or (), expected.classes or (), strict=False))
    return OutputDrift(
        output=output.name,
        kind=output.kind,
        items=found.item_count,
        expected_items=expected.item_count,
        classes=[
            ClassShare(
                name=name, share=here / found.item_count, expected=there / expected.item_count
            )
            for name, (here, there) in zip(class_names(output), pairs, strict=False)
        ],
        class_shift=_class_shift(output, found, expected) if pairs else None,
        confidence=[
            ConfidenceShare(
                up_to=up_to, share=here / found.item_count, expected=there / expected.item_count
            )
            for up_to, here, there in zip(
                CONFIDENCE_ENDS, found.confidence, expected.confidence, strict=True
            )
        ],
        confidence_shift=confidence_shift,
        mean_confidence=found.mean_confidence or 0.0,
        expected_mean_confidence=expected.mean_confidence or 0.0,
    )


def _class_shift(
    output: OutputTensor, found: OutputFigures, expected: OutputFigures
) -> Shift | None:
    here, there = found.classes or [], expected.classes or []
    if output.kind != "multilabel":
        return shift_of(there, here)
    # Labels that apply together are no parts of a whole: each applies or does not.
    shifts = [
        shift_of(
            [before, max(0, expected.item_count - before)],
            [after, max(0, found.item_count - after)],
            tries=len(here),
        )
        for before, after in zip(there, here, strict=True)
    ]
    return max(filter(None, shifts), key=lambda shift: shift.psi, default=None)
