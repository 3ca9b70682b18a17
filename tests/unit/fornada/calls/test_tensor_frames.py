"""Calls and answers of several tensors, of text and of any lengths."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fornada.calls import answers
from fornada.calls.answers import answer_to
from fornada.calls.frames import (
    AnswerFrame,
    PredictRequest,
    RequestFrame,
    answers_as_array,
    request_frame,
)
from fornada.errors import InputError, MessageError
from fornada.formats.tensor_file import to_tensor_file
from fornada.records import ItemError, ModelPin
from fornada.tensors import InputTensor, OutputTensor

TAKES = [
    InputTensor(name="photo", dtype="uint8", shape=[2]),
    InputTensor(name="words", dtype="string", shape=[None]),
]
PHOTO = np.array([[1, 2], [3, 4]], np.uint8)
WORDS = [np.array([b"a", b"bc"], object), np.array(["é".encode()], object)]
GIVES = [
    OutputTensor(name="mask", dtype="uint8", shape=[2, 2], kind="tensor"),
    OutputTensor(name="each", shape=[None], kind="tensor"),
]
MASK = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
EACH = [np.array([0.5], np.float32), np.array([np.nan, 2], np.float32)]
VECTOR = [OutputTensor(name="y", shape=[2], kind="probabilities")]


def request(**changes: Any) -> PredictRequest:
    fields = {
        "schema_version": 3,
        "id": "0" * 32,
        "client": "1" * 32,
        "model": ModelPin(name="m", version=3, sha256="a" * 64),
        "format": "safetensors",
        "item_count": 2,
        "deadline_ms": 1,
    }
    return PredictRequest(**{**fields, **changes})


CALL = request_frame(request(), to_tensor_file({"photo": PHOTO, "words": WORDS}, TAKES))


def test_items_of_several_inputs_come_out_as_they_went_in() -> None:
    photo, words = RequestFrame.parse(CALL).columns(TAKES, model="m:3")

    np.testing.assert_array_equal(PHOTO, photo, strict=True)
    assert [cell.tolist() for cell in WORDS] == [cell.tolist() for cell in words]


def test_outputs_of_any_rank_come_out_as_they_went_in() -> None:
    frame = answer_to(
        request(), [MASK, EACH], [ItemError(index=1, reason="too dark")], GIVES, model="m:3"
    )

    answer = AnswerFrame.parse(frame)
    mask, each = answer.columns(GIVES, item_count=2)

    assert {1: "too dark"} == answer.header.row_errors
    np.testing.assert_array_equal(MASK, mask, strict=True)
    for expected, found in zip(EACH, each, strict=True):
        np.testing.assert_array_equal(expected, found, strict=True)


def test_one_vector_of_floats_is_answered_as_before() -> None:
    asked = request(format=None, item_dtype="uint8", item_shape=[2])
    outputs = np.array([[0.25, 0.75], [1, 0]], np.float32)

    frame = answer_to(asked, [outputs], [], VECTOR, model="m:3")

    line, _, data = frame.partition(b"\n")
    assert {"schema_version": 3, "id": "0" * 32, "item_count": 2, "output_count": 2} == json.loads(
        line
    )
    assert outputs.tobytes() == data
    number = OutputTensor(name="y", shape=[], kind="tensor")
    assert [True, True, False] == [
        answers_as_array(gives)
        for gives in (VECTOR, [number], [number.model_copy(update={"dtype": "float64"})])
    ]


def test_a_call_that_is_not_what_the_model_takes_is_refused() -> None:
    array = RequestFrame.parse(
        request_frame(request(format=None, item_dtype="uint8", item_shape=[2]), PHOTO)
    )
    for call, takes, why in (
        (CALL, TAKES[:1], "the call holds 'words.offsets', which is no tensor of photo"),
        (CALL, [*TAKES, TAKES[0].model_copy(update={"name": "z"})], "the call lacks 'z'"),
        (CALL.replace(b'"item_count":2', b'"item_count":3'), TAKES, "the job says 3"),
        (CALL[:-1], TAKES, "not a readable safetensors file"),
    ):
        with pytest.raises(InputError, match=why):
            RequestFrame.parse(call).columns(takes, model="m:3")
    for takes in (TAKES, [TAKES[0].model_copy(update={"dtype": "int8"})], TAKES[1:]):
        with pytest.raises(InputError, match=r"model m:3 takes .*, and the call has uint8 \[2\]"):
            array.columns(takes, model="m:3")


def test_a_call_says_either_an_array_or_a_format() -> None:
    line, _, data = CALL.partition(b"\n")
    for change in (
        {"item_dtype": "uint8", "item_shape": [2]},
        {"format": "npy"},
        {"format": None},
        {"schema_version": 1},
        {"item_shape": [2]},
    ):
        said = {k: v for k, v in {**json.loads(line), **change}.items() if v is not None}
        with pytest.raises(MessageError):
            RequestFrame.parse(json.dumps(said).encode() + b"\n" + data)


def test_an_answer_of_another_model_or_count_is_refused() -> None:
    frame = answer_to(request(), [MASK, EACH], [], GIVES, model="m:3")
    vector = answer_to(request(), [np.zeros((2, 2), np.float32)], [], VECTOR, model="m:3")
    for each, gives, count in (
        (frame, GIVES, 3),
        (frame, GIVES[:1], 2),
        (frame, VECTOR, 2),
        (vector, GIVES, 2),
        (vector, VECTOR, 1),
        (vector, [VECTOR[0].model_copy(update={"shape": [3]})], 2),
    ):
        with pytest.raises(MessageError):
            AnswerFrame.parse(each).columns(gives, item_count=count)


def test_what_an_answer_has_no_room_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = request(format=None, item_dtype="uint8", item_shape=[2], schema_version=1)
    with pytest.raises(InputError, match="version 1 of a call has no room for; use a newer client"):
        answer_to(old, [MASK, EACH], [], GIVES, model="m:3")
    with pytest.raises(InputError, match="item 1: too dark"):
        answer_to(old, [MASK], [ItemError(index=1, reason="too dark")], VECTOR, model="m:3")
    # 8 bytes of masks and 12 of floats, and a file that has more.
    for most, size_bytes in ((19, "20"), (100, "[0-9]{3}")):
        monkeypatch.setattr(answers, "MAX_ANSWER_BYTES", most)
        with pytest.raises(InputError, match=f"are {size_bytes} bytes, and an answer has {most}"):
            answer_to(request(), [MASK, EACH], [], GIVES, model="m:3")


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4))
def test_a_damaged_call_is_items_or_refused(edits: list[tuple[int, int]]) -> None:
    frame = bytearray(CALL)
    for position, value in edits:
        frame[position % len(frame)] = value

    try:
        photo, words = RequestFrame.parse(bytes(frame)).columns(TAKES, model="m:3")
    except (MessageError, InputError):
        return
    assert len(photo) == len(words)
    assert sum(cell.size for cell in words) <= 3
