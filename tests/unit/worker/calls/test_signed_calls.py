"""Calls between clients and workers that have a key, the same key, or another one."""

import itertools
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from fornada.calls import answers
from fornada.calls.frames import AnswerFrame
from fornada.errors import AnswerNotTrustedError, InputError
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys
from producer.calls.predict_calls import PredictCalls
from worker.calls.server import PredictServer
from worker.host.deadlines import Deadlines

pytestmark = pytest.mark.parametrize("world", [True], indirect=True, ids=[""])

OLD, NEW = (bytes([number]) * 32 for number in (1, 2))
ITEMS = np.ones((2, 3), np.float32)


class _Channel:
    """One process's stand-in for Redis, open to anyone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.calls: list[bytes] = []
        self.answers: list[bytes] = []

    def ask(self, queue: str, frames: Sequence[bytes]) -> None:
        self._put(self.calls, frames)

    def answer(self, frames: Mapping[str, Sequence[bytes]]) -> None:
        self._put(self.answers, [frame for of_client in frames.values() for frame in of_client])

    def take(self, queue: str, *, count: int, timeout_s: float) -> tuple[list[bytes], int]:
        return self._taken(self.calls, count, min(timeout_s, 0.05)), self.time_ms()

    def collect(self, client: str, *, count: int, timeout_s: float) -> list[bytes]:
        return self._taken(self.answers, count, min(timeout_s, 0.05))

    def waiting(self, queue: str) -> int:
        return len(self.calls)

    def time_ms(self) -> int:
        return 1_000_000

    def _put(self, frames: list[bytes], more: Sequence[bytes]) -> None:
        with self._changed:
            frames += more
            self._changed.notify_all()

    def _taken(self, frames: list[bytes], count: int, timeout_s: float) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: frames, timeout_s)
            taken, frames[:] = frames[:count], frames[count:]
            return taken


class _Pair:
    """A client and a worker on one channel, each with its keys."""

    def __init__(self, world: Any) -> None:
        self.world, self.channel = world, _Channel()
        self.model = world.publish()

    def predict(self, client: DeploymentKeys, worker: DeploymentKeys) -> list[list[float]]:
        calls = PredictCalls(channel=self.channel, queue="q", deployment_keys=client)
        server = PredictServer(
            channel=self.channel,
            queue="q",
            models=self.world.cache,
            deadlines=Deadlines(),
            deadline_s=60,
            end_process=lambda: None,
            deployment_keys=worker,
        )
        server.start()
        try:
            answer = calls.predict([ITEMS], self.model.inputs, self.model.pin, timeout_s=10)
            (rows,) = answer.columns(self.model.outputs, item_count=len(ITEMS))
            return np.asarray(rows).tolist()
        finally:
            server.stop()
            calls.close()


@pytest.fixture
def pair(world: Any) -> _Pair:
    return _Pair(world)


def test_keys_are_rotated_without_a_call_that_fails(pair: _Pair) -> None:
    # given the steps of the manual, in which one side is always a step ahead of the other
    steps = [[OLD], [OLD, NEW], [NEW, OLD], [NEW]]
    keys = [DeploymentKeys(step) for step in steps]

    for before, after in itertools.pairwise(keys):
        for client, worker in ((before, after), (after, before)):
            assert [[3, 6], [3, 6]] == pair.predict(client, worker)
    assert [[3, 6], [3, 6]] == pair.predict(NO_KEYS, NO_KEYS)


@pytest.mark.parametrize(
    ("client", "worker", "why"),
    [
        (NO_KEYS, DeploymentKeys([OLD]), "no key of the workers signed the call; give clients"),
        (DeploymentKeys([NEW]), DeploymentKeys([OLD]), "no key of the workers signed the call; "),
        (DeploymentKeys([OLD]), NO_KEYS, "no key of this client signed the answer; give clients"),
    ],
    ids=["client has none", "another", "worker has none"],
)
def test_calls_of_other_keys_are_refused_on_either_side(
    pair: _Pair,
    client: DeploymentKeys,
    worker: DeploymentKeys,
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(AnswerNotTrustedError, match=why):
        pair.predict(client, worker)

    if worker:
        assert [] == pair.world.engine.tiles
        assert "predict calls refused, not signed" in caplog.messages


def test_no_key_signs_a_refusal_that_anyone_may_have_asked_for(pair: _Pair) -> None:
    # given whoever sends a call without a signature, perhaps in another client's name
    answers: list[bytes] = []
    forward = pair.channel.answer

    def tapped(frames: Mapping[str, Sequence[bytes]]) -> None:
        answers.extend(frame for of_client in frames.values() for frame in of_client)
        forward(frames)

    pair.channel.answer = tapped  # type: ignore[method-assign]

    with pytest.raises(AnswerNotTrustedError):
        pair.predict(NO_KEYS, DeploymentKeys([OLD]))

    assert ["none"] == [AnswerFrame.parse(answer).seal for answer in answers]


def test_an_answer_that_redis_would_not_take_is_refused_before_it_is_computed(
    pair: _Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given: two rows of two outputs take 16 bytes
    monkeypatch.setattr(answers, "MAX_ANSWER_BYTES", 15)

    with pytest.raises(InputError, match="16 bytes, and an answer has 15 at most; call with fewer"):
        pair.predict(NO_KEYS, NO_KEYS)

    assert [] == pair.world.engine.tiles
