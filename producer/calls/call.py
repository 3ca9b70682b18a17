"""One call: the items as they are sent, and who waits for the answer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, Self

from pydantic import ValidationError

from fornada.calls.frames import (
    ANY_ID,
    MAX_CALL_BYTES,
    AnswerFrame,
    PredictRequest,
    sealed_frame,
)
from fornada.errors import CallTooLargeError, UsageError, WaitTimeoutError
from fornada.formats.items import Array
from fornada.formats.tensor_file import Column, column_bytes, to_tensor_file
from fornada.records import JOB_VERSION, ModelPin
from fornada.tensors import InputTensor
from fornada.trust.deployment_keys import DeploymentKeys
from producer.options import check_seconds

MAX_TIMEOUT_S = 600.0


class Expected(Protocol):
    """Where an answer goes, of a thread or of an event loop."""

    def done(self) -> bool:
        """Whether it has one, or nobody waits any more."""

    def set_running_or_notify_cancel(self) -> bool:
        """Whether somebody still waits."""

    def set_result(self, answer: AnswerFrame, /) -> None:
        """Give the answer."""

    def set_exception(self, error: BaseException, /) -> None:
        """Say why there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A call that waits to be sent, or for its answer."""

    id: str
    #: One array of numbers, or a tensor file.
    items: Array | bytes
    item_count: int
    pin: ModelPin
    timeout_s: float
    #: When nobody waits any more, by the monotonic clock.
    due_s: float
    expected: Expected
    #: The span that waits for it.
    traceparent: str | None = None

    @classmethod
    def of(
        cls,
        columns: Sequence[Column],
        takes: Sequence[InputTensor],
        pin: ModelPin,
        *,
        call_id: str,
        timeout_s: float,
        expected: Expected,
        traceparent: str | None = None,
    ) -> Self:
        """The call of items, a column for each input.

        Raises:
            UsageError: It is too large, or `timeout_s` is out of range.
        """
        check_seconds(timeout_s, "timeout_s")
        if not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise UsageError(f"timeout_s is {timeout_s:g}; give up to {MAX_TIMEOUT_S:g} seconds")
        return cls(
            id=call_id,
            items=_sent(columns, takes),
            item_count=len(columns[0]),
            pin=pin,
            timeout_s=float(timeout_s),
            due_s=time.monotonic() + timeout_s,
            expected=expected,
            traceparent=traceparent,
        )

    def frame(self, *, client: str, now_ms: int, deployment_keys: DeploymentKeys) -> bytes:
        """The call as it is sent.

        Args:
            client: Names the list that the answer goes to.
            now_ms: Now, by the clock of deadlines.
            deployment_keys: The first one signs.

        Raises:
            UsageError: A call cannot have such items.
        """
        items = self.items
        kind = None if isinstance(items, bytes) else (items.dtype.name, items.shape[1:])
        try:
            before, between = _header(client, self.pin, self.item_count, kind)
        except ValidationError as exc:
            what = "a tensor file" if isinstance(items, bytes) else f"{items.dtype} {items.shape}"
            raise UsageError(
                f"{self.item_count} items as {what} cannot be sent in a call; submit them as a job"
            ) from exc
        deadline_ms = now_ms + round(self.timeout_s * 1000)
        header = b"%b%b%b%d}" % (before, self.id.encode(), between, deadline_ms)
        return sealed_frame(
            "call", self.id, header, items, deployment_keys, traceparent=self.traceparent
        )

    def late(self, fact: str) -> WaitTimeoutError:
        """The error of one that was not answered in time."""
        return WaitTimeoutError(
            f"no answer came within {self.timeout_s:g} s, {fact}; check that workers run and keep "
            "up, raise the timeout, or submit a job"
        )


@lru_cache(maxsize=1024)
def _header(
    client: str, pin: ModelPin, item_count: int, kind: tuple[str, tuple[int, ...]] | None
) -> tuple[bytes, bytes]:
    """What the header of a call has before its id, and from there to its deadline.

    Args:
        client: Names the list that the answer goes to.
        pin: The model.
        item_count: Items of the call.
        kind: Dtype and shape of an item; `None` of a tensor file.

    Raises:
        ValidationError: A call cannot have such items.
    """
    what: dict[str, Any] = {"format": "safetensors"}
    if kind is not None:
        what = {"item_dtype": kind[0], "item_shape": list(kind[1])}
    header = PredictRequest(
        schema_version=JOB_VERSION,
        id=ANY_ID,
        client=client,
        model=pin,
        item_count=item_count,
        deadline_ms=0,
        **what,
    )
    before, _, after = header.to_json().partition(ANY_ID.encode())
    return before, after.removesuffix(b"0}")


def _sent(columns: Sequence[Column], takes: Sequence[InputTensor]) -> Array | bytes:
    """What a call has of the items: one array of numbers, or a tensor file.

    Raises:
        UsageError: It is too large.
    """
    _check_size(sum(map(column_bytes, columns)))
    if len(takes) == 1 and takes[0].dtype != "string" and not isinstance(columns[0], list):
        return columns[0]
    named = {tensor.name: column for tensor, column in zip(takes, columns, strict=True)}
    data = to_tensor_file(named, takes)
    _check_size(len(data))
    return data


def _check_size(item_bytes: int) -> None:
    if item_bytes > MAX_CALL_BYTES:
        raise CallTooLargeError(
            f"{item_bytes} bytes of items exceed the limit of a call ({MAX_CALL_BYTES}); submit "
            "them as a job"
        )
