"""`client.predict`: calls of many threads, sent together, each with its own answer."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import numpy as np
import pytest

from fornada.calls.frames import AnswerFrame, PredictAnswer, RequestFrame, answer_frame
from fornada.errors import (
    BacklogFullError,
    BrokerError,
    FornadaError,
    InputError,
    ModelNotFoundError,
    ModelRefusedError,
    PredictionErrors,
    StoreUnavailableError,
    UsageError,
    WaitTimeoutError,
)
from fornada.records import ModelPin
from fornada.tensors import InputTensor
from producer import Client
from producer.calls.predict_calls import PredictCalls
from producer.calls.thread_answer import ThreadAnswer
from producer.testing import in_memory_client

_PIN = ModelPin(name="m", version=1, sha256="a" * 64)
_TAKES = [InputTensor(name="x", dtype="uint8", shape=[None])]
_ITEMS = np.arange(4, dtype=np.uint8).reshape(2, 2)


class _Channel:
    """A channel that passes each call to a function, which may answer it."""

    def __init__(self, answer: Callable[[RequestFrame], bytes | None]) -> None:
        self._answer = answer
        self._changed = threading.Condition()
        self._answers: list[bytes] = []
        self.batches: list[int] = []
        self.fails: BrokerError | None = None
        #: Whether calls arrive although their senders get an error.
        self.loses_replies = False
        #: Raised once instead of answers.
        self.collect_error: Exception | None = None
        #: While cleared, calls stay in transit.
        self.open = threading.Event()
        self.open.set()

    def ask(self, queue: str, frames: Sequence[bytes]) -> None:
        self.open.wait(10)
        if self.fails is not None:
            raise self.fails
        self.batches.append(len(frames))
        with self._changed:
            answers = [self._answer(RequestFrame.parse(frame)) for frame in frames]
            self._answers += [answer for answer in answers if answer is not None]
            self._changed.notify_all()
        if self.loses_replies:
            raise BrokerError("the reply is lost")

    def collect(self, client: str, *, count: int, timeout_s: float) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._answers, timeout_s)
            if self.collect_error is not None:
                error, self.collect_error = self.collect_error, None
                raise error
            taken, self._answers = self._answers[:count], self._answers[count:]
            return taken

    def take(self, queue: str, *, count: int, timeout_s: float) -> tuple[list[bytes], int]:
        raise NotImplementedError

    def answer(self, frames: Mapping[str, Sequence[bytes]]) -> None:
        raise NotImplementedError

    def waiting(self, queue: str) -> int:
        return 7

    def time_ms(self) -> int:
        return 1_000_000


def _sums(call: RequestFrame) -> bytes:
    outputs = call.items.sum(axis=1, dtype=np.float32)[:, np.newaxis]
    header = PredictAnswer(id=call.header.id, item_count=len(outputs), output_count=1)
    return answer_frame(header, outputs)


@pytest.fixture
def calls_on() -> Iterator[Callable[[_Channel], PredictCalls]]:
    begun: list[PredictCalls] = []
    before = set(threading.enumerate())

    def make(channel: _Channel) -> PredictCalls:
        begun.append(PredictCalls(channel=channel, queue="q"))
        return begun[-1]

    yield make
    for calls in begun:
        calls.close()
    assert set() == set(threading.enumerate()) - before


CallsOn = Callable[[_Channel], PredictCalls]


def test_each_caller_gets_its_own_answer_and_calls_are_sent_together(
    calls_on: CallsOn, wait_until: Callable[..., None]
) -> None:
    channel = _Channel(_sums)
    calls = calls_on(channel)
    channel.open.clear()

    def call(number: int) -> float:
        items = np.full((1, 3), number, np.uint8)
        return float(calls.predict([items], _TAKES, _PIN, timeout_s=10).outputs[0, 0])

    with ThreadPoolExecutor(32) as pool:
        answers = [pool.submit(call, number) for number in range(32)]
        # One thread sends; the others leave their calls with it.
        wait_until(lambda: len(calls._waiting) == 32)
        channel.open.set()

    assert [3.0 * number for number in range(32)] == [answer.result() for answer in answers]
    assert 32 == sum(channel.batches)
    assert len(channel.batches) <= 3


def test_a_call_says_until_when_it_is_waited_for(calls_on: CallsOn) -> None:
    seen: list[RequestFrame] = []

    def answer(call: RequestFrame) -> bytes:
        seen.append(call)
        return _sums(call)

    calls_on(_Channel(answer)).predict([_ITEMS], _TAKES, _PIN, timeout_s=2.5)

    assert 1_002_500 == seen[0].header.deadline_ms
    assert (_PIN, [2], 2) == (
        seen[0].header.model,
        seen[0].header.item_shape,
        seen[0].header.item_count,
    )


def test_without_an_answer_the_caller_is_told_in_time(calls_on: CallsOn) -> None:
    calls = calls_on(_Channel(lambda _call: None))

    with pytest.raises(WaitTimeoutError, match=r"within 0\.2 s, and 7 calls wait for a worker"):
        calls.predict([_ITEMS], _TAKES, _PIN, timeout_s=0.2)

    assert {} == calls._waiting


def test_what_the_worker_refuses_is_raised_as_what_it_is(calls_on: CallsOn) -> None:
    def refuse(kind: str) -> Callable[[RequestFrame], bytes]:
        return lambda call: answer_frame(
            PredictAnswer(
                id=call.header.id, item_count=0, output_count=0, error=kind, detail="so it is"
            )
        )

    for kind, expected in (
        ("ModelRefusedError", ModelRefusedError),
        ("InputError", InputError),
        ("SystemExit", FornadaError),
        ("StoreUnavailableError", StoreUnavailableError),
    ):
        with pytest.raises(expected, match="so it is") as error:
            calls_on(_Channel(refuse(kind))).predict([_ITEMS], _TAKES, _PIN, timeout_s=10)
        assert expected is type(error.value)


@pytest.mark.parametrize("error", [BacklogFullError("full"), BrokerError("away")])
def test_a_call_that_does_not_get_through_fails_at_once(
    calls_on: CallsOn, error: BrokerError
) -> None:
    channel = _Channel(_sums)
    calls = calls_on(channel)
    channel.fails = error

    with pytest.raises(type(error)):
        calls.predict([_ITEMS], _TAKES, _PIN, timeout_s=10)

    channel.fails = None
    assert (2, 1) == calls.predict([_ITEMS], _TAKES, _PIN, timeout_s=10).outputs.shape


class _ContestedAnswer(ThreadAnswer):
    """Gets an answer and an error at the same moment: each waits for the other to arrive."""

    def __init__(self, completed: list[str]) -> None:
        super().__init__()
        self.completed = completed
        self._answered, self._failed = threading.Event(), threading.Event()

    def set_result(self, answer: AnswerFrame) -> None:
        self.completed.append("answer")
        self._answered.set()
        self._failed.wait(0.5)
        super().set_result(answer)

    def set_exception(self, error: BaseException) -> None:
        self.completed.append("error")
        self._answered.wait(0.5)
        super().set_exception(error)
        self._failed.set()


def test_a_lost_reply_that_meets_the_answer_leaves_later_calls_working(
    calls_on: CallsOn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    channel = _Channel(_sums)
    calls = calls_on(channel)
    channel.loses_replies = True
    completed: list[str] = []
    with monkeypatch.context() as contested:
        contested.setattr(
            "producer.calls.predict_calls.ThreadAnswer", partial(_ContestedAnswer, completed)
        )
        with suppress(BrokerError):
            calls.predict([_ITEMS], _TAKES, _PIN, timeout_s=10)
    channel.loses_replies = False

    assert (2, 1) == calls.predict([_ITEMS], _TAKES, _PIN, timeout_s=10).outputs.shape
    # The thread that came second did not answer again.
    assert 1 == len(completed)
    assert [] == [record.msg for record in caplog.records if record.levelname == "ERROR"]


def test_a_reader_that_died_is_started_again(calls_on: CallsOn) -> None:
    channel = _Channel(_sums)
    calls = calls_on(channel)
    calls.predict([_ITEMS], _TAKES, _PIN, timeout_s=10)
    dead = threading.Thread(target=int)
    dead.start()
    dead.join()
    # The next call finds a dead thread in the reader's place.
    calls._reader, reads = dead, calls._reader

    assert (2, 1) == calls.predict([_ITEMS], _TAKES, _PIN, timeout_s=10).outputs.shape
    assert calls._reader is not dead
    calls.close()
    assert reads is not None
    reads.join(10)


def test_an_unexpected_error_does_not_end_the_reader(calls_on: CallsOn) -> None:
    channel = _Channel(_sums)
    calls = calls_on(channel)
    channel.collect_error = RuntimeError("unexpected")

    assert (2, 1) == calls.predict([_ITEMS], _TAKES, _PIN, timeout_s=10).outputs.shape
    assert channel.collect_error is None


@pytest.mark.parametrize("error", [BrokerError("away"), RuntimeError("unexpected")])
def test_a_reader_that_fails_on_and_on_waits_longer_and_says_so_once(
    calls_on: CallsOn,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    channel, waits_s = _Channel(_sums), list[float]()
    collect = channel.collect

    def failing(client: str, *, count: int, timeout_s: float) -> list[bytes]:
        if len(waits_s) < 6:
            raise error
        return collect(client, count=count, timeout_s=timeout_s)

    monkeypatch.setattr(channel, "collect", failing)
    calls = calls_on(channel)
    monkeypatch.setattr(calls, "_pause", waits_s.append)

    assert (2, 1) == calls.predict([_ITEMS], _TAKES, _PIN, timeout_s=10).outputs.shape
    assert [0.2, 0.4, 0.8, 1.6, 3.0, 3.0] == waits_s
    assert 1 == caplog.messages.count("answers not read")


def test_answers_that_are_none_or_late_or_come_twice_change_nothing(calls_on: CallsOn) -> None:
    def answer(call: RequestFrame) -> bytes:
        return b"garbage"

    channel = _Channel(answer)
    calls = calls_on(channel)
    with pytest.raises(WaitTimeoutError):
        calls.predict([_ITEMS], _TAKES, _PIN, timeout_s=0.1)

    late = PredictAnswer(id="0" * 32, item_count=1, output_count=1)
    channel._answers += [answer_frame(late, np.zeros((1, 1), np.float32))] * 2
    channel._answer = _sums
    assert [[1.0], [5.0]] == calls.predict([_ITEMS], _TAKES, _PIN, timeout_s=10).outputs.tolist()


@pytest.mark.parametrize(
    ("items", "timeout_s", "fact"),
    [
        (np.zeros((2, 1024 * 1024), np.uint8), 1, "2097152 bytes of items exceed"),
        (_ITEMS, 0, "timeout_s is 0"),
        (_ITEMS, 601, "timeout_s is 601"),
        (_ITEMS, float("nan"), "timeout_s is nan"),
        (_ITEMS, None, "timeout_s is None"),
        (_ITEMS, "1", "timeout_s is '1'"),
        (np.zeros((1,) * 12, np.uint8), 1, "cannot be sent in a call"),
    ],
)
def test_what_makes_no_sense_is_refused(
    calls_on: CallsOn, items: np.ndarray, timeout_s: float, fact: str
) -> None:
    with pytest.raises(UsageError, match=fact):
        calls_on(_Channel(_sums)).predict([items], _TAKES, _PIN, timeout_s=timeout_s)


def test_a_client_that_was_closed_is_of_no_more_use(calls_on: CallsOn) -> None:
    calls = calls_on(_Channel(_sums))
    calls.close()

    with pytest.raises(UsageError, match="the client is closed"):
        calls.predict([_ITEMS], _TAKES, _PIN, timeout_s=1)


@pytest.fixture
def client() -> Iterator[Client]:
    with in_memory_client(
        model="m",
        item_shape=[2, 2],
        classes=["a", "b"],
        predict=lambda rows: np.stack([rows.sum(axis=(1, 2)), rows.max(axis=(1, 2))], axis=1),
    ) as client:
        yield client


def test_the_fake_client_predicts_as_the_real_one(client: Client) -> None:
    images = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)

    assert [[6.0, 3.0], [22.0, 7.0]] == client.predict(images, model="m@prod").tolist()


def test_images_that_do_not_fit_and_unknown_models_are_refused(client: Client) -> None:
    with pytest.raises(InputError):
        client.predict(np.zeros((1, 3, 3), np.uint8), model="m")
    with pytest.raises(InputError, match="is empty"):
        client.predict(np.zeros((0, 2, 2), np.uint8), model="m")
    with pytest.raises(ModelNotFoundError):
        client.predict(np.zeros((1, 2, 2), np.uint8), model="other")


def test_the_store_is_not_asked_for_each_call(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.zeros((1, 2, 2), np.uint8)
    client.predict(images, model="m:1")
    client.predict(images, model="m@prod")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the store was asked")

    for method in ("get", "list"):
        monkeypatch.setattr(client._models.objects, method, never)
    client.predict(images, model="m:1")
    client.predict(images, model="m@prod")
    monkeypatch.setattr("producer.submitting.resolver.time.monotonic", lambda: time.time() + 1e9)
    client.predict(images, model="m:1")
    with pytest.raises(AssertionError, match="the store was asked"):
        client.predict(images, model="m@prod")


def test_a_bad_item_of_a_call_fails_alone() -> None:
    # given a model that gives NaN for some items
    def predict(rows: np.ndarray) -> np.ndarray:
        outputs = rows.reshape(len(rows), -1).sum(axis=1, keepdims=True).astype(np.float32)
        outputs[rows[:, 0, 0] == 7] = np.inf
        return outputs

    items = np.ones((5, 2, 2), object)
    items[1, 0, 0], items[2, 0, 0], items[4, 1, 1] = 7, np.nan, None
    with in_memory_client(
        model="m", item_shape=[2, 2], classes=["a"], item_dtype="float32", predict=predict
    ) as client:
        # when / then
        with pytest.raises(
            PredictionErrors, match="3 of 5 items failed; item 1: the mod"
        ) as caught:
            client.predict(items, model="m")
        outputs = client.predict(items, model="m", errors="nan")
        with pytest.raises(UsageError, match="give 'raise' or 'nan'"):
            client.predict(items, model="m", errors="ignore")  # type: ignore[arg-type]  # wrong
        with pytest.raises(UsageError, match="give 'raise' or 'nan'"):
            client.predict(items, model="m", errors=[])  # type: ignore[arg-type]  # wrong
        with pytest.raises(UsageError, match="model is 7"):
            client.predict(items, model=7)  # type: ignore[arg-type]  # wrong
        of_lists = client.predict(items.tolist(), model="m", errors="nan")

    assert {
        1: "the model gave infinity",
        2: "NaN or infinity among its values",
        4: "null among its values",
    } == caught.value.errors
    expected = np.array([[4], [np.nan], [np.nan], [4], [np.nan]], np.float32)
    np.testing.assert_array_equal(expected, outputs)
    np.testing.assert_array_equal(expected, of_lists)
    np.testing.assert_array_equal(expected, caught.value.outputs)
