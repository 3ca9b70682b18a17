"""The client for event loops: as the other one, without a thread a call."""

import asyncio
import inspect
import io
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fornada.calls.frames import PredictAnswer, RequestFrame, answer_frame
from fornada.errors import (
    BacklogFullError,
    BrokerError,
    InputError,
    JobNotFoundError,
    ModelNotFoundError,
    PredictionErrors,
    UsageError,
    WaitTimeoutError,
)
from fornada.records import ModelPin
from fornada.tensors import InputTensor
from producer import AsyncClient, AsyncJob, Client, ImageFile, Job
from producer.calls.loop_answers import LoopAnswers
from producer.calls.predict_calls import PredictCalls
from producer.testing import in_memory_client

_PIN = ModelPin(name="m", version=1, sha256="a" * 64)
_TAKES = [InputTensor(name="x", dtype="uint8", shape=[None])]
_ITEMS = np.arange(4, dtype=np.uint8).reshape(2, 2)
#: Methods of `Client` that are no part of its reference.
_OF_THE_GATEWAY = {
    "backlogs",
    "job_of",
    "last_errors",
    "looks",
    "manifests",
    "open_job_ids",
    "page",
    "progress",
    "shard_states",
    "shards",
    "waiting_calls",
}
_PIXELS = np.arange(4, dtype=np.uint8).reshape(1, 2, 2)


class _Channel:
    """A channel whose `ask` may block, and that answers sums, or nothing."""

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self.asked: list[RequestFrame] = []
        self.fails: BrokerError | None = None
        self.open = threading.Event()
        self.open.set()
        self._changed = threading.Condition()
        self._ready: list[bytes] = []

    def ask(self, queue: str, frames: Sequence[bytes]) -> None:
        self.open.wait(10)
        if self.fails is not None:
            raise self.fails
        with self._changed:
            for call in map(RequestFrame.parse, frames):
                self.asked.append(call)
                if self.answers:
                    self._ready.append(_sum_of(call))
            self._changed.notify_all()

    def collect(self, client: str, *, count: int, timeout_s: float) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._ready, timeout_s)
            taken, self._ready = self._ready[:count], self._ready[count:]
            return taken

    def take(self, queue: str, *, count: int, timeout_s: float) -> tuple[list[bytes], int]:
        raise NotImplementedError

    def answer(self, frames: Mapping[str, Sequence[bytes]]) -> None:
        with self._changed:
            self._ready += [answer for some in frames.values() for answer in some]
            self._changed.notify_all()

    def waiting(self, queue: str) -> int:
        return 7

    def time_ms(self) -> int:
        return 1_000_000


def _sum_of(call: RequestFrame) -> bytes:
    outputs = np.asarray(call.items).sum(axis=1, dtype=np.float32)[:, np.newaxis]
    header = PredictAnswer(id=call.header.id, item_count=len(outputs), output_count=1)
    return answer_frame(header, outputs)


async def _until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end_s
        await asyncio.sleep(0.001)


@asynccontextmanager
async def _calls_on(channel: _Channel) -> AsyncIterator[PredictCalls]:
    before = set(threading.enumerate())
    calls = PredictCalls(channel=channel, queue="q")
    try:
        yield calls
    finally:
        await asyncio.to_thread(calls.close)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert set() == {name for name in left if name.startswith("predict-")}


async def _answer(calls: PredictCalls, items: np.ndarray, timeout_s: float = 10) -> Any:
    expected = LoopAnswers(asyncio.get_running_loop()).expect()
    call = calls.begin([items], _TAKES, _PIN, timeout_s=timeout_s, expected=expected)
    try:
        async with asyncio.timeout(15):
            return (await expected.future).outputs
    finally:
        calls.forget(call)


def test_calls_of_an_event_loop_share_two_threads_and_never_block_it() -> None:
    async def run() -> tuple[list[float], set[str], int]:
        channel = _Channel()
        async with _calls_on(channel) as calls:
            # Redis does not answer for now.
            channel.open.clear()
            callers = [
                asyncio.ensure_future(_answer(calls, np.full((1, 3), number, np.uint8)))
                for number in range(200)
            ]
            await _until(lambda: len(calls._waiting) == len(callers))
            names = {t.name for t in threading.enumerate() if t.name.startswith("predict-")}
            channel.open.set()
            return (
                [float(each[0, 0]) for each in await asyncio.gather(*callers)],
                names,
                len(calls._waiting),
            )

    sums, names, waiting_count = asyncio.run(run())

    assert [3.0 * number for number in range(200)] == sums
    assert {"predict-calls", "predict-answers"} == names
    assert 0 == waiting_count


def test_a_call_that_is_late_ends_in_time_and_the_others_go_on() -> None:
    async def run() -> None:
        channel = _Channel(answers=False)
        async with _calls_on(channel) as calls:
            long = asyncio.ensure_future(_answer(calls, _ITEMS))
            await _until(lambda: channel.asked)
            with pytest.raises(
                WaitTimeoutError, match=r"within 0\.05 s, and 7 calls wait for a worker"
            ):
                await _answer(calls, _ITEMS, 0.05)
            with pytest.raises(WaitTimeoutError):
                await _answer(calls, _ITEMS, 0.01)
            channel.answer({"c": [_sum_of(channel.asked[0])]})
            assert [[1.0], [5.0]] == (await long).tolist()
            assert {} == calls._waiting

    asyncio.run(run())


def test_a_cancelled_call_is_forgotten_and_not_sent_if_it_was_not() -> None:
    async def run() -> list[int]:
        channel = _Channel()
        async with _calls_on(channel) as calls:
            channel.open.clear()
            first = asyncio.ensure_future(_answer(calls, np.full((1, 3), 1, np.uint8)))
            await _until(lambda: calls._sending.locked() and not calls._outbox)
            cancelled = asyncio.ensure_future(_answer(calls, np.full((1, 3), 2, np.uint8)))
            await _until(lambda: len(calls._waiting) == 2)
            cancelled.cancel()
            await _until(lambda: len(calls._waiting) == 1)
            channel.open.set()
            await first
            await _answer(calls, np.full((1, 3), 3, np.uint8))
        return [int(np.asarray(call.items)[0, 0]) for call in channel.asked]

    assert [1, 3] == asyncio.run(run())


def test_what_is_wrong_with_one_call_is_its_own_error() -> None:
    async def run() -> None:
        channel = _Channel()
        async with _calls_on(channel) as calls:
            channel.open.clear()
            good = asyncio.ensure_future(_answer(calls, _ITEMS))
            bad = asyncio.ensure_future(_answer(calls, np.zeros((1,) * 12, np.uint8)))
            await _until(lambda: calls._waiting)
            channel.open.set()
            with pytest.raises(UsageError, match="cannot be sent in a call"):
                await bad
            assert (2, 1) == (await good).shape
            with pytest.raises(UsageError, match="timeout_s is 0"):
                await _answer(calls, _ITEMS, 0)
            channel.fails = BacklogFullError("full")
            with pytest.raises(BacklogFullError):
                await _answer(calls, _ITEMS)
        with pytest.raises(UsageError, match="the client is closed"):
            await _answer(calls, _ITEMS)

    asyncio.run(run())


@pytest.mark.parametrize(("of_loops", "of_threads"), [(AsyncClient, Client), (AsyncJob, Job)])
def test_it_has_the_methods_of_the_other_with_their_parameters(
    of_loops: type, of_threads: type
) -> None:
    def methods(of: type) -> dict[str, list[str]]:
        found = inspect.getmembers(of, inspect.isroutine)
        public = {name: method for name, method in found if not name.startswith("_")}
        return {name: [*inspect.signature(each).parameters] for name, each in public.items()}

    have = methods(of_loops)
    want = {name: each for name, each in methods(of_threads).items() if name not in _OF_THE_GATEWAY}

    assert want == {name: have.get(name) for name in want}
    assert {"predict_with", "recent_model"} >= have.keys() - want.keys()


def _client(**how: Any) -> AsyncClient:
    return AsyncClient(
        in_memory_client(
            model="m",
            item_shape=[2, 2],
            classes=["a", "b"],
            predict=lambda rows: np.stack([rows.sum(axis=(1, 2)), rows.max(axis=(1, 2))], axis=1),
            **how,
        )
    )


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _run(use: Callable[[AsyncClient], Awaitable[None]], **how: Any) -> None:
    async def run() -> None:
        async with _client(**how) as client:
            await use(client)

    asyncio.run(run())


def test_a_job_is_submitted_waited_for_and_read() -> None:
    async def use(client: AsyncClient) -> None:
        job = await client.submit(np.repeat(_PIXELS, 3, axis=0), model="m@prod", items_per_shard=2)
        seen: list[Any] = []
        status = await job.wait(timeout_s=10, on_progress=seen.append)
        results = await job.results()
        shards = [shard.first_item async for shard in job.shard_results()]
        found = await client.job(job.id)

        assert ("SUCCEEDED", [status], [[6.0, 3.0]] * 3) == (
            status.state,
            seen,
            results.probabilities.tolist(),
        )
        assert ([0, 2], [], []) == (
            shards,
            [error async for error in job.item_errors()],
            [shard async for shard in job.dead_shards()],
        )
        assert (job.id, [job.id], 3, 0) == (
            found.id,
            [each.job_id for each in await client.jobs()],
            found.manifest.item_count,
            (await client.backlog()).total.shards,
        )
        assert (await client.verify(job.id)).same
        many = await client.submit_many([_PIXELS, _PIXELS], model="m")
        assert [1, 1] == [(await each.status()).items for each in many]

    _run(use)


def test_an_open_job_is_waited_for_in_vain_and_cancelled() -> None:
    async def use(client: AsyncClient) -> None:
        job = await client.submit(_PIXELS, model="m")
        with pytest.raises(WaitTimeoutError, match="0 of 1 shards after 0 s"):
            await job.wait(timeout_s=0)
        assert "CANCELLED" == (await job.cancel()).state
        with pytest.raises(JobNotFoundError):
            await client.job("none")

    _run(use, run_at_once=False)


def test_results_that_are_read_in_part_leave_no_thread_behind() -> None:
    async def use(client: AsyncClient) -> None:
        job = await client.submit(np.repeat(_PIXELS, 9, axis=0), model="m", items_per_shard=1)
        shards = job.shard_results()
        first = await anext(shards)
        await shards.aclose()  # type: ignore[attr-defined]  # it is a generator

        assert 0 == first.shard

    _run(use)


def test_arrays_lists_and_images_are_predicted_and_bad_items_fail_alone() -> None:
    async def use(client: AsyncClient) -> None:
        images = [_png(_PIXELS[0]), b"\x89PNG\r\n\x1a\nbroken", ImageFile(name="x", data=b"?")]
        for inputs in (_PIXELS, _PIXELS.tolist(), images[:1], {"inputs": _PIXELS}):
            assert [[6.0, 3.0]] == (await client.predict(inputs, model="m")).tolist()
        found = await client.predict_with(images, model="m@prod")

        assert ([1, 2], 3, "m:1") == (sorted(found.errors), found.item_count, str(found.model))
        with pytest.raises(PredictionErrors, match="2 of 3 items failed"):
            await client.predict(images, model="m")
        with pytest.raises(InputError):
            await client.predict(np.zeros((1, 3, 3), np.uint8), model="m")
        with pytest.raises(ModelNotFoundError):
            await client.predict(_PIXELS, model="other")
        with pytest.raises(UsageError, match="give 'raise' or 'nan'"):
            await client.predict(_PIXELS, model="m", errors="ignore")  # type: ignore[arg-type]  # wrong

    _run(use)


def test_a_model_is_looked_up_once_for_all_and_again_without_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks, may_answer = list[str](), threading.Event()

    async def use(client: AsyncClient) -> None:
        models = client._client.predictions.models
        resolve = models._resolver.resolve

        def counted(ref: Any) -> Any:
            looks.append(str(ref))
            assert may_answer.wait(10)
            return resolve(ref)

        monkeypatch.setattr(models._resolver, "resolve", counted)
        asked = [asyncio.ensure_future(client.recent_model("m@prod")) for _ in range(50)]
        await _until(lambda: looks)
        # One that gives up takes it from nobody.
        asked.pop().cancel()
        may_answer.set()
        assert {"m:1"} == {str(model) for model in await asyncio.gather(*asked)}
        assert ["m@prod"] == looks

        # It grows old, and the store hangs.
        may_answer.clear()
        manifest, looked_s = models._known["m@prod"]
        models._known["m@prod"] = manifest, looked_s - 3
        for _ in range(50):
            assert "m:1" == str(await client.recent_model("m@prod"))
        await _until(lambda: len(looks) == 2)
        may_answer.set()
        await _until(lambda: models._known["m@prod"][1] > looked_s)
        assert ["m@prod"] * 2 == looks

    _run(use)


def test_threads_share_the_look_at_a_model_that_grows_old() -> None:
    client = _client()._client
    models = client.predictions.models
    client.predict(_PIXELS, model="m@prod")
    manifest, looked_s = models._known["m@prod"]
    models._known["m@prod"] = manifest, looked_s - 3

    assert models.begin_renewal("m@prod")
    # Another one is at it.
    assert models.resolve("m@prod") is manifest
    assert looked_s - 3 == models._known["m@prod"][1]
    models.renew("m@prod")
    assert not models.begin_renewal("m@prod")
    client.close()
