"""`reference.json`, beside a model: what it predicts for its test items."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from fornada import keys
from fornada.figures.predictions import OutputFigures
from fornada.records import Record
from fornada.tensors import MAX_TENSORS, TensorName


class Reference(Record):
    """What is expected of jobs that run on a model."""

    schema_version: Literal[1] = 1
    #: By the name of each output that names classes.
    predicted: dict[TensorName, OutputFigures] = Field(max_length=MAX_TENSORS)

    @classmethod
    def files(cls, predicted: Mapping[str, OutputFigures]) -> dict[str, bytes]:
        """The file of a version that is published, by its name; none without figures."""
        return {keys.REFERENCE: cls(predicted=dict(predicted)).to_json()} if predicted else {}
