"""Calls and answers as bytes: they survive the round trip, and anything else is refused."""

import json
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fornada.calls.frames import (
    AnswerFrame,
    PredictAnswer,
    PredictRequest,
    RequestFrame,
    answer_frame,
    request_frame,
)
from fornada.errors import MessageError
from fornada.records import ModelPin
from fornada.tensors import Dtype
from fornada.testing import TEST_KEYS
from fornada.trust.deployment_keys import NO_KEYS

from ....traced import TRACEPARENT

_ID = "0123456789abcdef" * 2


def _request(**changes: object) -> PredictRequest:
    given_values = {
        "id": _ID,
        "client": _ID[::-1],
        "model": ModelPin(name="m", version=3, sha256="a" * 64),
        "item_dtype": "uint8",
        "item_shape": [2, 3],
        "item_count": 4,
        "deadline_ms": 1,
    }
    return PredictRequest(**{**given_values, **changes})  # type: ignore[arg-type]


def test_a_call_comes_out_as_it_went_in() -> None:
    items = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)

    # Fortran order is the same array.
    found = RequestFrame.parse(request_frame(_request(), np.asfortranarray(items)))

    assert _request() == found.header
    np.testing.assert_array_equal(items, found.items)
    assert np.uint8 == found.items.dtype


def test_a_call_names_the_span_that_waits_signed_or_not() -> None:
    items = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)

    for own_keys in (NO_KEYS, TEST_KEYS):
        frame = request_frame(_request(), items, deployment_keys=own_keys, traceparent=TRACEPARENT)
        call = RequestFrame.parse(frame, deployment_keys=own_keys)
        assert (_request(), True, TRACEPARENT) == (call.header, call.is_trusted, call.traceparent)
        np.testing.assert_array_equal(items, call.items)
        with pytest.raises(MessageError):
            RequestFrame.parse(frame[1:], deployment_keys=own_keys)


def test_a_call_may_have_any_dtype_of_arrays() -> None:
    for dtype in get_args(Dtype):
        header = _request(item_dtype="uint8").model_copy(update={"item_dtype": dtype})
        if dtype in {"bfloat16", "string"}:
            with pytest.raises(MessageError, match=f"{dtype} is not a dtype of arrays"):
                RequestFrame.parse(request_frame(header, np.zeros(24, np.uint8)))
            continue
        items = np.arange(24).reshape(4, 2, 3).astype(dtype)

        found = RequestFrame.parse(request_frame(header, items))

        assert np.dtype(dtype) == found.items.dtype
        np.testing.assert_array_equal(items, found.items)


def test_an_answer_comes_out_as_it_went_in() -> None:
    outputs = np.array([[0.25, 0.75], [np.nan, 1]], np.float32)
    header = PredictAnswer(id=_ID, item_count=2, output_count=2)

    found = AnswerFrame.parse(answer_frame(header, outputs))

    assert header == found.header
    np.testing.assert_array_equal(outputs, found.outputs)


def test_an_error_has_no_outputs() -> None:
    header = PredictAnswer(
        id=_ID, item_count=0, output_count=0, error="InputError", detail="too bad"
    )

    found = AnswerFrame.parse(answer_frame(header))

    assert ("InputError", "too bad", 0) == (
        found.header.error,
        found.header.detail,
        found.outputs.size,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"item_count": 5},
        {"item_dtype": "float32"},
        {"item_shape": [2, 4]},
        {"item_shape": [1_000_000, 1_000_000]},
        {"item_shape": [0]},
        {"item_count": 0},
        {"item_dtype": "object"},
        {"id": "short"},
        {"more": 1},
    ],
)
def test_a_call_that_claims_something_else_is_refused(change: dict[str, object]) -> None:
    line, _, data = request_frame(_request(), np.zeros((4, 2, 3), np.uint8)).partition(b"\n")

    with pytest.raises(MessageError):
        RequestFrame.parse(json.dumps({**json.loads(line), **change}).encode() + b"\n" + data)


@given(st.binary(max_size=200), st.sampled_from([b"", b"{}\n", b"\n", b"null\n", b'{"id":1}\n']))
def test_any_bytes_are_refused(data: bytes, head: bytes) -> None:
    for parse in (RequestFrame.parse, AnswerFrame.parse):
        with pytest.raises(MessageError):
            parse(head + data)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
def test_a_damaged_call_is_a_call_or_refused(edits: list[tuple[int, int]]) -> None:
    frame = bytearray(request_frame(_request(), np.zeros((4, 2, 3), np.uint8)))
    for position, value in edits:
        frame[position % len(frame)] = value

    try:
        found = RequestFrame.parse(bytes(frame))
    except MessageError:
        return
    assert found.items.size <= 24
