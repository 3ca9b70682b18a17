"""What is asked of a process behind the wall, and what it answers: one line of JSON each."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from fornada.records import Record
from fornada.tensors import InputTensor, OutputTensor

#: Most bytes of an answer: class names may take 10 MiB.
MAX_ANSWER_BYTES = 32 * 2**20


class Describe(Record):
    """Load a `.keras` file made elsewhere, and say what it takes and gives."""

    task: Literal["describe"] = "describe"
    artifact: str
    #: The model, for messages.
    where: str
    #: As `Trust.allowed_objects`.
    allowed_objects: list[str]
    #: What loads it, as FORNADA_ENGINE names it.
    engine: str
    #: What its publisher says about input and output: the fields of `Stated`.
    stated: dict[str, Any]
    #: A `.npy` file of golden items; without it they are generated.
    golden: str | None = None
    #: Where golden batch and changed artifact are to be written.
    folder: str


class Check(Record):
    """Load an artifact on an engine, and have it reproduce its golden batch."""

    task: Literal["check"] = "check"
    artifact: str
    where: str
    allowed_objects: list[str]
    #: As FORNADA_ENGINE names it.
    engine: str
    inputs: list[InputTensor]
    outputs: list[OutputTensor]
    #: Files of `to_golden`.
    golden_inputs: str
    golden_outputs: str
    #: As `ModelDraft.golden_framework`.
    golden_framework: str | None = None
    #: Rows of the calls to make; absent: all that a worker may choose.
    tile_items: int | None = Field(default=None, ge=1)


class CallCost(Record):
    """What a predict call takes."""

    #: Its rows.
    tile_items: int = Field(ge=1)
    #: The most memory that it takes beside the loaded model.
    peak_bytes: int = Field(ge=0)
    #: On one core.
    duration_s: float = Field(ge=0)


class Described(Record):
    """What a file takes and gives; its golden batch is in the folder."""

    answer: Literal["described"] = "described"
    #: The file to publish: as it was given, or with Keras's activations.
    artifact: str
    inputs: list[InputTensor]
    outputs: list[OutputTensor]
    #: What the publisher should know about outputs, by name.
    hints: dict[str, str] = Field(default_factory=dict)
    #: What of the file is not published, and why.
    dropped: str | None = None
    #: Versions of the packages that loaded it.
    packages: dict[str, str]


class Passed(Record):
    """An artifact that loads within the limits, and reproduces its golden batch."""

    answer: Literal["passed"] = "passed"
    #: What computed, with its version.
    engine: str
    #: The most memory that the process has taken.
    peak_bytes: int = Field(ge=0)
    #: By rows, the fewest first. No call with more rows was tried.
    calls: list[CallCost] = Field(min_length=1)


class Failed(Record):
    """An error of ours, by the name of its class; `MemoryError` where memory ran out."""

    answer: Literal["failed"] = "failed"
    error: str
    message: str


Request = Describe | Check
Answer = Described | Passed | Failed

REQUESTS: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="task")])
ANSWERS: TypeAdapter[Answer] = TypeAdapter(Annotated[Answer, Field(discriminator="answer")])
