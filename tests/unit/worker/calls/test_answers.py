"""Calls that are answered together: each gets what it would get alone."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from fornada.calls.frames import AnswerFrame, PredictRequest, RequestFrame, request_frame
from fornada.errors import PredictionError
from fornada.formats.rows import Rows
from fornada.jobs.items import Predicted
from fornada.records import ModelPin
from fornada.trust.deployment_keys import NO_KEYS
from worker.calls.answers import answered_calls, read_calls

from ....arrays import giving, taking

_MODEL: Any = SimpleNamespace(inputs=taking([None]), outputs=giving(2))
#: The model fails on it, or gives NaN.
_FAILS, _GIVES_NAN = 7.0, 8.0


def _call(number: int, items: np.ndarray) -> RequestFrame:
    header = PredictRequest(
        schema_version=3,
        id=f"{number:032x}",
        client="c" * 32,
        model=ModelPin(name="m", version=1, sha256="a" * 64),
        item_dtype="float32",
        item_shape=list(items.shape[1:]),
        item_count=len(items),
        deadline_ms=1,
    )
    return RequestFrame.parse(request_frame(header, items))


def _predict(groups: Sequence[Rows]) -> list[Predicted]:
    found = []
    for group in groups:
        rows = group.only
        outputs = np.stack([rows.sum(axis=1), np.full(len(rows), rows.shape[1])], axis=1)
        outputs[rows[:, 0] == _GIVES_NAN] = np.nan
        failed = np.flatnonzero(rows[:, 0] == _FAILS).tolist()
        found.append(Predicted(Rows(outputs.astype(np.float32)), dict.fromkeys(failed, "bad")))
    return found


def _answers(calls: Sequence[RequestFrame]) -> list[tuple[list[list[float]], dict[int, str]]]:
    fitting, refused = read_calls(calls, _MODEL, NO_KEYS)
    assert [] == refused
    answered = answered_calls(fitting, _predict, _MODEL, NO_KEYS)
    assert list(calls) == [call for call, _ in answered]
    answers = [AnswerFrame.parse(frame) for _, frame in answered]
    assert [call.header.id for call in calls] == [answer.header.id for answer in answers]
    return [(answer.outputs.tolist(), answer.header.row_errors) for answer in answers]


def test_calls_answered_together_get_what_each_gets_alone() -> None:
    # given items of several shapes, some of which fail or cannot be read
    calls = [
        _call(1, np.array([[1, 2], [_FAILS, 0], [3, 4]], np.float32)),
        _call(2, np.array([[1, 2, 3]], np.float32)),
        _call(3, np.array([[np.nan, 0], [5, 6], [_GIVES_NAN, 0]], np.float32)),
        _call(4, np.array([[_FAILS, 0, 0], [4, 5, 6]], np.float32)),
        _call(5, np.array([[np.inf, 0]], np.float32)),
    ]

    # when
    together = _answers(calls)

    # then
    alone = [_answers([call])[0] for call in calls]
    np.testing.assert_equal(together, alone)
    assert [{1: "bad"}, {}] == [errors for _, errors in together[:2]]
    assert [[6.0, 3.0]] == together[1][0]
    assert [0, 2] == sorted(together[2][1])
    assert [11.0, 2.0] == together[2][0][1]


def test_a_call_that_the_model_fails_on_fails_alone() -> None:
    def predict(groups: Sequence[Rows]) -> list[Predicted]:
        if any((group.only == _FAILS).any() for group in groups):
            raise PredictionError("out of order")
        return _predict(groups)

    calls = [_call(number, np.full((1, 2), number, np.float32)) for number in (6, 7, 8)]
    fitting, _ = read_calls(calls, _MODEL, NO_KEYS)

    frames = [frame for _, frame in answered_calls(fitting, predict, _MODEL, NO_KEYS)]

    errors = [AnswerFrame.parse(frame).header.error for frame in frames]
    assert [None, "PredictionError", None] == errors
