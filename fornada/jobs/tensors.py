"""The named tensors that a job gives to its model and gets back; reserved in version 3."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from fornada.records import Record

TensorName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
#: Sides of one item, without the leading axis; null where they vary.
Shape = Annotated[list[Annotated[int, Field(ge=0)] | None], Field(max_length=32)]
TensorDtype = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class InputTensor(Record):
    """One input of the model."""

    name: TensorName
    dtype: TensorDtype
    shape: Shape


class OutputTensor(Record):
    """One output of the model."""

    name: TensorName
    dtype: TensorDtype = "float32"
    shape: Shape
    kind: Literal["probabilities", "binary", "multilabel", "values", "embedding", "tensor"]
    #: Names of the values along the last axis.
    labels: list[str] | None = None
