"""The wire format of calls and answers: a line of JSON, then an array or a tensor file.

Before it, a call may have a line with the `traceparent` of the span that waits, and both a
line with their signature.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints, field_validator, model_validator

from fornada.errors import InputError, MessageError
from fornada.formats.items import Array
from fornada.formats.tensor_file import Column, from_tensor_file, needs_tensor_file
from fornada.ranges import Ranges, from_ranges, to_ranges
from fornada.records import (
    JOB_VERSION,
    SCHEMA_VERSION,
    ItemError,
    ModelPin,
    Record,
    refuse_before,
)
from fornada.tensors import Dtype, InputTensor, OutputTensor
from fornada.tracing.traceparent import TRACEPARENT_CHARACTERS, checked_traceparent
from fornada.trust.deployment_keys import HMAC_DIGITS, NO_KEYS, DeploymentKeys, Kind

#: Most bytes of items in one call; more is a job.
MAX_CALL_BYTES = 1024 * 1024
#: Most bytes of outputs in its answer, which Redis takes as one value with the header.
MAX_ANSWER_BYTES = 32 * 1024 * 1024
_MAX_REQUEST_HEADER_BYTES = 4096
#: Ranges of failed rows can be many.
_MAX_ANSWER_HEADER_BYTES = 16 * 1024 * 1024
#: Most bytes of a frame, with its signature.
MAX_CALL_FRAME_BYTES = MAX_CALL_BYTES + _MAX_REQUEST_HEADER_BYTES + 1024
MAX_ANSWER_FRAME_BYTES = MAX_ANSWER_BYTES + _MAX_ANSWER_HEADER_BYTES + 1024
#: Different reasons in an answer; rows that failed for others are told so together.
_MAX_REASONS = 50
_MAX_AXES = 8
_MAX_ITEMS = MAX_CALL_BYTES

#: Stands for the id in a header that is written once for many calls.
ANY_ID = 32 * "0"

#: Of an answer: not signed, signed by a key of the deployment, or by another.
Seal = Literal["none", "known", "unknown"]
_SIGNED = re.compile(rb"[0-9a-f]{64}\n")

_R = TypeVar("_R", bound=Record)

Hex128 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Side = Annotated[int, Field(ge=1, le=MAX_CALL_BYTES)]


class PredictRequest(Record):
    """The header of a call; its items follow, item dtype [items, *item_shape] in C order.

    Those of several inputs, of text, or that differ in shape follow as a tensor file.
    """

    schema_version: Literal[1, 3] = SCHEMA_VERSION
    id: Hex128
    #: Names the list that the answer goes to.
    client: Hex128
    model: ModelPin
    #: Absent with `format`.
    item_dtype: Dtype | None = None
    item_shape: Annotated[list[Side], Field(max_length=_MAX_AXES)] | None = None
    #: What `fornada.formats.tensor_file` writes of the model's inputs. Version 3.
    format: Literal["safetensors"] | None = None
    item_count: int = Field(ge=1, le=_MAX_ITEMS)
    #: By the clock of Redis; after it the caller no longer waits.
    deadline_ms: int = Field(ge=0)

    @field_validator("item_dtype")
    @classmethod
    def _is_of_arrays(cls, dtype: Dtype | None) -> Dtype | None:
        if dtype in {"bfloat16", "string"}:
            raise ValueError(f"{dtype} is not a dtype of arrays; bfloat16 is sent as float32")
        return dtype

    @model_validator(mode="after")
    def _says_what_follows(self) -> Self:
        refuse_before(JOB_VERSION, self, ["format"])
        of_array = [self.item_dtype is not None, self.item_shape is not None]
        if of_array != [self.format is None] * 2:
            raise ValueError("a call needs item_dtype and item_shape, or format")
        return self


class PredictAnswer(Record):
    """The header of an answer; its outputs follow, float32 [items, outputs], unless it failed.

    Those of a model with several outputs, or one that is no vector of float32, follow as a tensor
    file.
    """

    #: That of the call.
    schema_version: Literal[1, 3] = SCHEMA_VERSION
    id: Hex128
    item_count: int = Field(ge=0, le=_MAX_ITEMS)
    #: Absent with `format`.
    output_count: int | None = Field(ge=0, le=MAX_CALL_BYTES, default=None)
    #: What `fornada.formats.tensor_file` writes of the model's outputs. Version 3.
    format: Literal["safetensors"] | None = None
    #: The class and message of the error.
    error: str | None = None
    detail: str | None = Field(default=None, max_length=2000)
    #: Reason -> the rows that failed for it, whose outputs are NaN. Version 3.
    failed: dict[str, Ranges] | None = None

    @model_validator(mode="after")
    def _has_the_fields_of_its_version(self) -> Self:
        refuse_before(JOB_VERSION, self, ["failed", "format"])
        if (self.output_count is None) != (self.format is not None):
            raise ValueError("an answer needs output_count, or format")
        return self

    @property
    def row_errors(self) -> dict[int, str]:
        """Number of a row that failed -> why."""
        failed = self.failed or {}
        return {row: why for why, ranges in failed.items() for row in from_ranges(ranges)}


def failed_rows(errors: Iterable[ItemError]) -> dict[str, list[list[int]]]:
    """Reason -> the rows, in order, that failed for it."""
    rows: dict[str, list[int]] = {}
    for error in errors:
        known = error.reason in rows or len(rows) < _MAX_REASONS
        rows.setdefault(error.reason if known else "one of many reasons", []).append(error.index)
    return {why: to_ranges(numbers) for why, numbers in rows.items()}


def request_frame(
    header: PredictRequest,
    items: Array | bytes,
    *,
    deployment_keys: DeploymentKeys = NO_KEYS,
    traceparent: str | None = None,
) -> bytes:
    """The frame of a call, after a line with its signature if there is a key.

    Args:
        header: Says what follows.
        items: An array, or a tensor file.
        deployment_keys: The first one signs.
        traceparent: The span that waits for the answer.
    """
    return sealed_frame(
        "call", header.id, header.to_json(), items, deployment_keys, traceparent=traceparent
    )


def answer_frame(
    header: PredictAnswer,
    outputs: Array | bytes = b"",
    *,
    deployment_keys: DeploymentKeys = NO_KEYS,
) -> bytes:
    """The frame of an answer, after a line with its signature if there is a key.

    Args:
        header: Says what follows.
        outputs: An array, or a tensor file; empty with an error.
        deployment_keys: The first one signs.
    """
    return sealed_frame("answer", header.id, header.to_json(), outputs, deployment_keys)


def answers_as_array(gives: Sequence[OutputTensor]) -> bool:
    """Whether the outputs are one vector of float32 an item, which an answer has as an array."""
    if needs_tensor_file(gives):
        return False
    return gives[0].dtype == "float32" and len(gives[0].shape) <= 1


@dataclass(frozen=True, slots=True)
class RequestFrame:
    """A parsed call."""

    header: PredictRequest
    #: Item dtype [items, *item_shape], read-only; or a tensor file.
    items: Array | bytes
    #: Whether its signature is one of the deployment's, which any call is without a key.
    is_trusted: bool = True
    #: The span that waits for the answer; anyone may name one.
    traceparent: str | None = None

    def columns(self, takes: Sequence[InputTensor], *, model: str) -> list[Column]:
        """The items, a column for each input of a model.

        Raises:
            InputError: The model takes something else.
        """
        header = self.header
        if isinstance(self.items, bytes):
            columns = from_tensor_file(
                self.items, takes, item_count=header.item_count, where="the call"
            )
            return list(columns.values())
        shape = header.item_shape or []
        fits = len(takes) == 1 and header.item_dtype == takes[0].numpy_dtype
        if not fits or not takes[0].takes(shape):
            raise InputError(
                f"model {model} takes {', '.join(map(str, takes))}, and the call has "
                f"{header.item_dtype} {shape}; send what it takes"
            )
        return [self.items]

    @classmethod
    def parse(cls, frame: bytes, *, deployment_keys: DeploymentKeys = NO_KEYS) -> Self:
        """Parse a frame.

        Raises:
            MessageError: It is not a call, or its length is not what it claims.
        """
        traceparent, frame = _traced(frame)
        signature, frame = _opened(frame)
        header, data = _split(frame, PredictRequest, _MAX_REQUEST_HEADER_BYTES)
        items: Array | bytes = bytes(data) if header.format else b""
        if not header.format:
            shape = (header.item_count, *(header.item_shape or []))
            items = _array(data, shape, np.dtype(header.item_dtype))
        trusted = not deployment_keys or deployment_keys.verify("call", header.id, frame, signature)
        return cls(header, items, trusted, traceparent)


@dataclass(frozen=True, slots=True)
class AnswerFrame:
    """A parsed answer."""

    header: PredictAnswer
    #: float32 [items, outputs], read-only, [0, 0] with an error; or a tensor file.
    outputs: NDArray[np.float32] | bytes
    #: Whether it is signed, and by whom.
    seal: Seal = "none"

    @property
    def file_bytes(self) -> int:
        """Bytes of the tensor file that has the outputs; 0 if an array has them."""
        return len(self.outputs) if isinstance(self.outputs, bytes) else 0

    def columns(self, gives: Sequence[OutputTensor], *, item_count: int) -> list[Column]:
        """The outputs, read-only, a column for each output of a model.

        Raises:
            MessageError: They are not those of `item_count` items by that model.
        """
        if isinstance(self.outputs, bytes):
            try:
                columns = from_tensor_file(
                    self.outputs, gives, item_count=item_count, where="the answer"
                )
            except InputError as exc:
                raise MessageError(str(exc)) from exc
            return list(columns.values())
        width = gives[0].width if answers_as_array(gives) else None
        if self.outputs.shape != (item_count, width):
            raise MessageError(
                f"the answer has float32 {list(self.outputs.shape)}, and {item_count} items of the "
                f"model have {', '.join(map(str, gives))}; call again"
            )
        return [self.outputs.reshape(item_count, *gives[0].fixed_shape)]

    @classmethod
    def parse(cls, frame: bytes, *, deployment_keys: DeploymentKeys = NO_KEYS) -> Self:
        """Parse a frame.

        Raises:
            MessageError: It is not an answer, or its length is not what it claims.
        """
        signature, frame = _opened(frame)
        header, data = _split(frame, PredictAnswer, _MAX_ANSWER_HEADER_BYTES)
        outputs: NDArray[np.float32] | bytes = bytes(data) if header.format else b""
        if not header.format:
            shape = (header.item_count, header.output_count or 0)
            outputs = np.asarray(_array(data, shape, np.dtype(np.float32)), np.float32)
        if signature is None:
            return cls(header, outputs)
        known = deployment_keys.verify("answer", header.id, frame, signature)
        return cls(header, outputs, "known" if known else "unknown")


def _payload(content: Array | bytes) -> bytes:
    return content if isinstance(content, bytes) else np.ascontiguousarray(content).tobytes()


def sealed_frame(
    kind: Kind,
    call_id: str,
    header: bytes,
    content: Array | bytes,
    deployment_keys: DeploymentKeys,
    *,
    traceparent: str | None = None,
) -> bytes:
    """A frame with a header that is JSON already; arguments are as in the functions above."""
    frame = header + b"\n" + _payload(content)
    signature = deployment_keys.sign(kind, call_id, frame)
    lines = [line.encode() for line in (traceparent, signature) if line is not None]
    return b"\n".join([*lines, frame])


def _traced(frame: bytes) -> tuple[str | None, bytes]:
    """The `traceparent` in the frame's first line, if it has one, and what follows."""
    end = frame.find(b"\n", 0, TRACEPARENT_CHARACTERS + 1)
    traceparent = checked_traceparent(frame[:end].decode("ascii", "replace")) if end > 0 else None
    return (None, frame) if traceparent is None else (traceparent, frame[end + 1 :])


def _opened(frame: bytes) -> tuple[str | None, bytes]:
    """The signature in the frame's first line, if it has one, and what follows."""
    if _SIGNED.match(frame) is None:
        return None, frame
    return frame[:HMAC_DIGITS].decode(), frame[HMAC_DIGITS + 1 :]


def _split(frame: bytes, kind: type[_R], max_bytes: int) -> tuple[_R, memoryview]:
    end = frame.find(b"\n", 0, max_bytes)
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
