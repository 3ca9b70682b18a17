"""Frames of calls and answers under a deployment's key."""

import numpy as np
import pytest

from fornada.calls.frames import (
    AnswerFrame,
    PredictAnswer,
    PredictRequest,
    RequestFrame,
    answer_frame,
    request_frame,
)
from fornada.records import ModelPin
from fornada.testing import TEST_KEYS
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys

OTHER_KEYS = DeploymentKeys([b"x" * 32])
ID = "a" * 32
REQUEST = PredictRequest(
    schema_version=3,
    id=ID,
    client="b" * 32,
    model=ModelPin(name="m", version=1, sha256="0" * 64),
    item_dtype="uint8",
    item_shape=[2],
    item_count=1,
    deadline_ms=1,
)
ANSWER = PredictAnswer(schema_version=3, id=ID, item_count=1, output_count=2)
ITEMS = np.array([[1, 2]], np.uint8)
OUTPUTS = np.array([[1, 2]], np.float32)


@pytest.mark.parametrize(
    ("signed_with", "expected"), [(TEST_KEYS, True), (OTHER_KEYS, False), (NO_KEYS, False)], ids=str
)
def test_a_worker_with_a_key_trusts_what_it_signed(
    signed_with: DeploymentKeys,
    *,
    expected: bool,
) -> None:
    frame = request_frame(REQUEST, ITEMS, deployment_keys=signed_with)

    assert expected is RequestFrame.parse(frame, deployment_keys=TEST_KEYS).is_trusted
    # without a key there is nothing to trust by
    assert RequestFrame.parse(frame).is_trusted


def test_a_changed_item_is_not_trusted() -> None:
    frame = request_frame(REQUEST, ITEMS, deployment_keys=TEST_KEYS)

    changed = RequestFrame.parse(frame[:-1] + b"\x09", deployment_keys=TEST_KEYS)

    assert not changed.is_trusted


@pytest.mark.parametrize(
    ("signed_with", "expected"),
    [(TEST_KEYS, "known"), (OTHER_KEYS, "unknown"), (NO_KEYS, "none")],
    ids=str,
)
def test_an_answer_says_who_signed_it(signed_with: DeploymentKeys, expected: str) -> None:
    frame = answer_frame(ANSWER, OUTPUTS, deployment_keys=signed_with)

    read = AnswerFrame.parse(frame, deployment_keys=TEST_KEYS)

    assert (expected, OUTPUTS.tolist()) == (read.seal, read.outputs.tolist())
