"""The wire format of calls and answers: a line of JSON, then the bytes of an array."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints

from fornada.errors import MessageError
from fornada.formats.items import Array
from fornada.records import SCHEMA_VERSION, Dtype, ModelPin, Record

#: Most bytes of items in one call; more is a job.
MAX_CALL_BYTES = 1024 * 1024
_MAX_HEADER_BYTES = 4096
_MAX_AXES = 8
_MAX_ITEMS = MAX_CALL_BYTES

_R = TypeVar("_R", bound=Record)

Hex128 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Side = Annotated[int, Field(ge=1, le=MAX_CALL_BYTES)]


class PredictRequest(Record):
    """The header of a call; its items follow, item dtype [items, *item_shape] in C order."""

    schema_version: Literal[1] = SCHEMA_VERSION
    id: Hex128
    #: Names the list that the answer goes to.
    client: Hex128
    model: ModelPin
    item_dtype: Dtype
    item_shape: Annotated[list[Side], Field(max_length=_MAX_AXES)]
    item_count: int = Field(ge=1, le=_MAX_ITEMS)
    #: By the clock of Redis; after it the caller no longer waits.
    deadline_ms: int = Field(ge=0)


class PredictAnswer(Record):
    """The header of an answer; its outputs follow, float32 [items, outputs], unless it failed."""

    schema_version: Literal[1] = SCHEMA_VERSION
    id: Hex128
    item_count: int = Field(ge=0, le=_MAX_ITEMS)
    output_count: int = Field(ge=0, le=MAX_CALL_BYTES)
    #: The class and message of the error.
    error: str | None = None
    detail: str | None = Field(default=None, max_length=2000)


def request_frame(header: PredictRequest, items: Array) -> bytes:
    """The frame of a call."""
    return header.to_json() + b"\n" + np.ascontiguousarray(items).tobytes()


def answer_frame(header: PredictAnswer, outputs: NDArray[np.float32] | None = None) -> bytes:
    """The frame of an answer."""
    return header.to_json() + b"\n" + (b"" if outputs is None else outputs.tobytes())


@dataclass(frozen=True, slots=True)
class RequestFrame:
    """A parsed call."""

    header: PredictRequest
    #: Item dtype [items, *item_shape], read-only.
    items: Array

    @classmethod
    def parse(cls, frame: bytes) -> Self:
        """Parse a frame, without a copy.

        Raises:
            MessageError: It is not a call, or its length is not what it claims.
        """
        header, data = _split(frame, PredictRequest)
        shape = (header.item_count, *header.item_shape)
        return cls(header, _array(data, shape, np.dtype(header.item_dtype)))


@dataclass(frozen=True, slots=True)
class AnswerFrame:
    """A parsed answer."""

    header: PredictAnswer
    #: float32 [items, outputs], read-only; [0, 0] with an error.
    outputs: NDArray[np.float32]

    @classmethod
    def parse(cls, frame: bytes) -> Self:
        """Parse a frame, without a copy.

        Raises:
            MessageError: It is not an answer, or its length is not what it claims.
        """
        header, data = _split(frame, PredictAnswer)
        shape = (header.item_count, header.output_count)
        return cls(header, np.asarray(_array(data, shape, np.dtype(np.float32)), np.float32))


def _split(frame: bytes, kind: type[_R]) -> tuple[_R, memoryview]:
    end = frame.find(b"\n", 0, _MAX_HEADER_BYTES)
    if end < 0:
        raise MessageError(
            f"a frame of {len(frame)} bytes does not begin with a line of JSON; write it as "
            "docs/reference/messages.md says"
        )
    return kind.from_json(frame[:end], where="frame"), memoryview(frame)[end + 1 :]


def _array(data: memoryview, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    claimed_bytes = math.prod(shape) * dtype.itemsize
    if claimed_bytes != len(data):
        raise MessageError(
            f"a frame claims {claimed_bytes} bytes ({dtype} {shape}) and has {len(data)}; write it "
            "as docs/reference/messages.md says"
        )
    return np.frombuffer(data, dtype).reshape(shape)
