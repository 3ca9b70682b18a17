"""Inputs and outputs of a manifest: as the publisher states, else as the model shows."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args

from fornada.errors import UsageError
from fornada.formats.items import Array
from fornada.formats.rows import Rows
from fornada.tensors import (
    CLASS_KINDS,
    THRESHOLD_KINDS,
    Dtype,
    InputTensor,
    Kind,
    OutputTensor,
    stored_dtype,
    text_of,
)
from model_store.images import ImageOptions, has_images, with_images
from model_store.publishing.kinds import Finding, Loss, check_probabilities, find_kind
from model_store.signature import GivenOutput, Signature

Side = Literal["inputs", "outputs"]
_T = TypeVar("_T")

_THRESHOLD = 0.5
_TENSOR: Kind = "tensor"
_MAX_NAME_LENGTH = 200
_CLASSES_OF_BINARY = 2


class StatedOutput(NamedTuple):
    """An output of a manifest, and what its publisher should know about it."""

    tensor: OutputTensor
    hint: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """What a publisher says about inputs and outputs; `None` leaves it to the model.

    Kind, classes and threshold are of the only output, or by name of several. New names are of
    the only input or output, or by the names that Keras has.
    """

    kind: Kind | Mapping[str, Kind] | None = None
    classes: Sequence[str] | Mapping[str, Sequence[str]] | None = None
    threshold: float | Mapping[str, float] | None = None
    #: Of all inputs that are images.
    image: ImageOptions | None = None
    input_name: str | Mapping[str, str] | None = None
    output_name: str | Mapping[str, str] | None = None
    #: Replaces NaN and null in items.
    fill: float | None = None
    #: Where NaN and infinity are allowed.
    allow_nan: Collection[Side] = ()

    def check(self) -> None:
        """Check what needs no model.

        Raises:
            UsageError: A kind, a name, the threshold or another value is invalid.
        """
        for kind in _all(self.kind):
            if kind not in get_args(Kind):
                known = ", ".join(get_args(Kind))
                raise UsageError(f"there is no kind {kind!r}; give one of {known}")
        for name in (*_all(self.input_name), *_all(self.output_name)):
            if not 0 < len(name) <= _MAX_NAME_LENGTH:
                raise UsageError(
                    f"{name[:50]!r} has {len(name)} characters; a name has 1 to {_MAX_NAME_LENGTH}"
                )
        for threshold in _all(self.threshold):
            if not 0 <= threshold <= 1:
                raise UsageError(f"the threshold is {threshold}; give a probability from 0 to 1")
        if self.fill is not None and not math.isfinite(self.fill):
            raise UsageError(f"fill is {self.fill}; give a number")
        if not set(self.allow_nan) <= set(get_args(Side)):
            raise UsageError(
                f"allow_nan is {self.allow_nan!r}; give some of {', '.join(get_args(Side))}"
            )

    @property
    def allows_nan_outputs(self) -> bool:
        """Whether an output may be NaN or infinite."""
        return "outputs" in self.allow_nan

    def inputs_of(self, signature: Signature, *, where: str) -> list[InputTensor]:
        """The inputs, and how image files become their items.

        Raises:
            UsageError: A name, image options or `fill` do not fit them.
        """
        known = [tensor.name for tensor in signature.inputs]
        names = _renamed(self.input_name, known, "input")
        takes = ", ".join(str(tensor) for tensor in signature.inputs)
        if self.fill is not None and not any("float" in t.dtype for t in signature.inputs):
            raise UsageError(f"{where} takes {takes}, which has no NaN; leave out fill")
        if self.image is not None and not any(map(has_images, signature.inputs)):
            raise UsageError(
                f"{where} takes {takes}, which are not images; leave out the options for images"
            )
        return [self._input(tensor, names[tensor.name], where=where) for tensor in signature.inputs]

    def _input(self, tensor: InputTensor, name: str, *, where: str) -> InputTensor:
        stated = {
            "name": name,
            "finite": "inputs" not in self.allow_nan,
            "fill": self.fill if "float" in tensor.dtype else None,
        }
        image = self.image if has_images(tensor) else None
        return with_images(tensor.model_copy(update=stated), image, where=where)

    def outputs_of(
        self,
        signature: Signature,
        *,
        model: Any,
        outputs: Rows,
        losses: Sequence[Loss],
        where: str,
    ) -> list[StatedOutput]:
        """The outputs, with their kinds.

        Args:
            signature: The model's.
            model: The Keras model.
            outputs: Golden outputs.
            losses: What the model was compiled for, by output.
            where: The model, for messages.

        Raises:
            UsageError: A name, kind, classes or threshold do not fit them, or one gives no
                probabilities.
        """
        known = [given.name for given in signature.outputs]
        names = _renamed(self.output_name, known, "output")
        for what in ("kind", "classes", "threshold"):
            _check_stated(getattr(self, what), list(names.values()), what)
        return [
            self._output(
                given,
                name=names[given.name],
                model=model,
                number=number,
                outputs=array,
                loss=loss,
                where=where,
            )
            for number, (given, array, loss) in enumerate(
                zip(signature.outputs, outputs.arrays, losses, strict=True)
            )
        ]

    def _output(
        self,
        given: GivenOutput,
        *,
        name: str,
        model: Any,
        number: int,
        outputs: Array,
        loss: Loss,
        where: str,
    ) -> StatedOutput:
        shape = list(outputs.shape[1:]) if given.shape is None else given.shape
        kind, classes = _of(self.kind, name), _of(self.classes, name)
        finding = Finding(kind=_TENSOR if kind is None else cast("Kind", kind))
        if kind is None and None not in shape:
            finding = find_kind(
                model,
                outputs,
                number=number,
                loss=loss,
                has_names=classes is not None,
                computes_floats="float" in given.dtype,
            )
        elif kind in CLASS_KINDS:
            check_probabilities(model, outputs, cast("Kind", kind), number=number, where=where)
        tensor = OutputTensor(
            name=name,
            dtype=cast("Dtype", stored_dtype(given.dtype)),
            shape=shape,
            kind=finding.kind,
            finite=not self.allows_nan_outputs,
        )
        threshold = _of(self.threshold, name)
        return StatedOutput(
            _with_classes(tensor, finding, classes=classes, threshold=threshold, where=where),
            finding.hint,
        )


def _all(stated: Any) -> list[Any]:
    """What is stated, of one or by name."""
    if stated is None:
        return []
    return list(stated.values()) if isinstance(stated, Mapping) else [stated]


def _of(stated: _T | Mapping[str, _T] | None, name: str) -> _T | None:
    """What is stated of one output."""
    return stated.get(name) if isinstance(stated, Mapping) else stated


def _check_stated(stated: Any, names: Sequence[str], what: str) -> None:
    if isinstance(stated, Mapping):
        others = sorted(stated.keys() - set(names))
        if others:
            raise UsageError(
                f"there is no output {', '.join(others)}; the model's "
                f"{'is' if len(names) == 1 else 'are'} {', '.join(names)}"
            )
    elif stated is not None and len(names) > 1:
        raise UsageError(
            f"the model has outputs {', '.join(names)}; give the {what} by name: "
            f"{{{names[0]!r}: …}}, or NAME=… on the command line"
        )


def _renamed(
    stated: str | Mapping[str, str] | None, known: Sequence[str], what: str
) -> dict[str, str]:
    """The new name of each input or output, by Keras's."""
    if isinstance(stated, str):
        if len(known) > 1:
            raise UsageError(
                f"the model has {what}s {', '.join(known)}; name one as OLD=NEW: "
                f"{known[0]}={stated}"
            )
        return {known[0]: stated}
    stated = stated or {}
    others = sorted(stated.keys() - set(known))
    if others:
        raise UsageError(f"there is no {what} {', '.join(others)}; there is {', '.join(known)}")
    names = {name: stated.get(name, name) for name in known}
    if len(set(names.values())) < len(names):
        raise UsageError(f"two {what}s would be called alike: {', '.join(names.values())}")
    return names


def _with_classes(
    given: OutputTensor,
    finding: Finding,
    *,
    classes: Sequence[str] | None,
    threshold: float | None,
    where: str,
) -> OutputTensor:
    """The output with its classes and threshold, where its kind has them."""
    gives = f"{where} gives {given.kind} of shape {text_of(given.shape)}"
    override = f"state another kind (--output {given.name}=KIND, or kind=)"
    if given.kind == "binary" and given.width != 1:
        raise UsageError(f"{gives}, and binary is one number; {override}")
    if given.kind not in {"tensor", "embedding"} and len(given.shape) > 1:
        raise UsageError(f"{gives}, and {given.kind} are one vector an item; {override}")
    named = _named_count(given)
    if classes is not None and len(classes) != named:
        raise UsageError(
            f"{gives}, and {len(classes)} classes are named; "
            + (finding.hint or f"name {named or 'none'}, or {override}")
        )
    if given.kind in THRESHOLD_KINDS:
        threshold = _THRESHOLD if threshold is None else threshold
    elif threshold is not None:
        raise UsageError(f"{gives}, which has no threshold; leave it out, or {override}")
    named_classes = None if classes is None else list(classes)
    return given.model_copy(update={"classes": named_classes, "threshold": threshold})


def _named_count(given: OutputTensor) -> int:
    if given.kind == "binary":
        return _CLASSES_OF_BINARY
    return 0 if given.kind in {"embedding", "tensor"} else given.width
