"""Input and output of a manifest: as the publisher states, else as the model shows."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fornada.errors import UsageError
from fornada.tensors import CLASS_KINDS, THRESHOLD_KINDS, InputTensor, Kind, OutputTensor, text_of
from model_store.images import ImageOptions, with_images
from model_store.publishing.kinds import Finding, Loss, check_probabilities, find_kind
from model_store.signature import Signature

Side = Literal["inputs", "outputs"]

_THRESHOLD = 0.5
_MAX_NAME_LENGTH = 200
_CLASSES_OF_BINARY = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """What a publisher says about input and output; `None` leaves it to the model."""

    #: Of the only output, or by its name.
    kind: Kind | Mapping[str, Kind] | None = None
    classes: Sequence[str] | None = None
    threshold: float | None = None
    image: ImageOptions | None = None
    input_name: str | None = None
    output_name: str | None = None
    #: Replaces NaN and null in items.
    fill: float | None = None
    #: Where NaN and infinity are allowed.
    allow_nan: Collection[Side] = ()

    def check(self) -> None:
        """Check what needs no model.

        Raises:
            UsageError: A kind, a name, the threshold or another value is invalid.
        """
        kinds = self.kind.values() if isinstance(self.kind, Mapping) else [self.kind]
        for kind in kinds:
            if kind is not None and kind not in get_args(Kind):
                known = ", ".join(get_args(Kind))
                raise UsageError(f"there is no kind {kind!r}; give one of {known}")
        for name in (self.input_name, self.output_name):
            if name is not None and not 0 < len(name) <= _MAX_NAME_LENGTH:
                raise UsageError(
                    f"{name[:50]!r} has {len(name)} characters; a name has 1 to {_MAX_NAME_LENGTH}"
                )
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UsageError(f"the threshold is {self.threshold}; give a probability from 0 to 1")
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

    def input_of(self, signature: Signature, *, where: str) -> InputTensor:
        """The input, and how image files become its items.

        Raises:
            UsageError: Image options or `fill` do not fit it.
        """
        taken = signature.input
        if self.fill is not None and "float" not in taken.dtype:
            raise UsageError(f"{where} takes {taken}, which has no NaN; leave out fill")
        stated = {
            "name": self.input_name or taken.name,
            "finite": "inputs" not in self.allow_nan,
            "fill": self.fill,
        }
        return with_images(taken.model_copy(update=stated), self.image, where=where)

    def output_of(
        self,
        signature: Signature,
        *,
        model: Any,
        outputs: NDArray[np.float32],
        loss: Loss,
        where: str,
    ) -> tuple[OutputTensor, str | None]:
        """The output, with its kind; and what the publisher should know about that.

        Args:
            signature: The model's.
            model: The Keras model.
            outputs: Golden outputs, float32 [items, outputs].
            loss: What the model was compiled for.
            where: The model, for messages.

        Raises:
            UsageError: Kind, classes or threshold do not fit it, or it gives no probabilities.
        """
        name = self.output_name or signature.output_name
        shape = signature.output_shape
        shape = list(outputs.shape[1:]) if shape is None else shape
        kind = self._stated_kind(name)
        finding = Finding(kind=kind or "values")
        if kind is None:
            finding = find_kind(
                model,
                outputs,
                loss=loss,
                has_names=self.classes is not None,
                computes_floats="float" in signature.output_dtype,
            )
        elif kind in CLASS_KINDS:
            check_probabilities(model, outputs, kind, where=where)
        # Engines give float32, whatever the model computes.
        given = OutputTensor(
            name=name, shape=shape, kind=finding.kind, finite=not self.allows_nan_outputs
        )
        return self._with_classes(given, finding, where=where), finding.hint

    def _stated_kind(self, output_name: str) -> Kind | None:
        if not isinstance(self.kind, Mapping):
            return self.kind
        others = sorted(self.kind.keys() - {output_name})
        if others:
            raise UsageError(
                f"there is no output {', '.join(others)}; the model's is {output_name}"
            )
        return self.kind.get(output_name)

    def _with_classes(self, given: OutputTensor, finding: Finding, *, where: str) -> OutputTensor:
        """The output with its classes and threshold, where its kind has them."""
        gives = f"{where} gives {given.kind} of shape {text_of(given.shape)}"
        override = f"state another kind (--output {given.name}=KIND, or kind=)"
        if given.kind == "binary" and given.width != 1:
            raise UsageError(f"{gives}, and binary is one number; {override}")
        named = _named_count(given)
        if self.classes is not None and len(self.classes) != named:
            raise UsageError(
                f"{gives}, and {len(self.classes)} classes are named; "
                + (finding.hint or f"name {named or 'none'}, or {override}")
            )
        threshold = self.threshold
        if given.kind in THRESHOLD_KINDS:
            threshold = _THRESHOLD if threshold is None else threshold
        elif threshold is not None:
            raise UsageError(f"{gives}, which has no threshold; leave it out, or {override}")
        classes = None if self.classes is None else list(self.classes)
        return given.model_copy(update={"classes": classes, "threshold": threshold})


def _named_count(given: OutputTensor) -> int:
    if given.kind == "binary":
        return _CLASSES_OF_BINARY
    return 0 if given.kind in {"embedding", "tensor"} else given.width
