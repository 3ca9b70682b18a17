"""`client.predict` through a real Valkey, answered by a real worker."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from fornada.errors import InputError, ModelRefusedError, WaitTimeoutError
from fornada.records import ModelPin
from fornada.redis_server import keys as redis_keys
from producer.client import Client

from ...redis_proxy import RedisProxy
from .conftest import ITEM_SHAPE

Deploy = Callable[..., tuple[Any, Callable[[], subprocess.Popen[bytes]]]]

_TIMEOUT_S = 60.0


def _images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *ITEM_SHAPE), np.uint8)


def test_a_call_gives_the_bytes_that_a_job_gives(shared: Any) -> None:
    images = _images(100)
    job = shared.client.submit(images, model="m:1")
    job.wait(_TIMEOUT_S)

    found = shared.client.predict(images, model="m:1", timeout_s=_TIMEOUT_S)

    assert np.float32 == found.dtype
    np.testing.assert_array_equal(job.results().probabilities, found)


def test_many_callers_at_once_get_each_their_own(shared: Any) -> None:
    images = _images(300)
    expected = shared.model.predict(images)

    with ThreadPoolExecutor(64) as pool:
        found = list(
            pool.map(
                lambda i: shared.client.predict(images[i : i + 1], model="m", timeout_s=_TIMEOUT_S),
                range(300),
            )
        )

    np.testing.assert_array_equal(expected, np.concatenate(found))


def test_nothing_of_a_call_is_left(shared: Any, wait_until: Callable[..., None]) -> None:
    before = {info.key for info in shared.objects.list("jobs/")}

    shared.client.predict(_images(1), model="m", timeout_s=_TIMEOUT_S)

    assert before == {info.key for info in shared.objects.list("jobs/")}
    with shared.redis() as server:
        wait_until(lambda: server.keys("fornada:predict*") == [])


def test_what_is_no_call_is_dropped(shared: Any) -> None:
    list_of_calls = redis_keys.predict_calls(shared.settings.queue)
    with shared.redis() as server:
        server.rpush(list_of_calls, b"garbage", b"{}\n", b'{"id":' + b"[" * 3000 + b"\n")

    found = shared.client.predict(_images(3), model="m", timeout_s=_TIMEOUT_S)

    np.testing.assert_array_equal(shared.model.predict(_images(3)), found)


def test_a_model_that_is_another_is_refused_as_in_a_job(shared: Any) -> None:
    takes = shared.client.model("m").inputs
    pin = ModelPin(name="m", version=1, sha256="0" * 64)

    with pytest.raises(ModelRefusedError):
        shared.client.predictions._calls.predict([_images(1)], takes, pin, timeout_s=_TIMEOUT_S)


def test_items_that_a_worker_finds_not_to_fit_do_no_harm_to_others(shared: Any) -> None:
    model = shared.client.model("m")

    with ThreadPoolExecutor(8) as pool:
        wrong = [
            pool.submit(
                shared.client.predictions._calls.predict,
                [np.zeros((1, 9, 9), np.uint8)],
                model.inputs,
                model.pin,
                timeout_s=_TIMEOUT_S,
            )
            for _ in range(4)
        ]
        right = [
            pool.submit(shared.client.predict, _images(2), model="m", timeout_s=_TIMEOUT_S)
            for _ in range(4)
        ]

    for call in wrong:
        with pytest.raises(InputError, match=r"takes uint8 \[6, 6\], and the call has"):
            call.result()
    for call in right:
        np.testing.assert_array_equal(shared.model.predict(_images(2)), call.result())


def test_without_a_worker_the_caller_is_told_in_time_and_a_worker_answers_until_it_ends(
    deploy: Deploy,
) -> None:
    deployment, start_worker = deploy()
    with deployment.client as client, deployment.redis() as server:
        with pytest.raises(WaitTimeoutError, match="1 call waits for a worker"):
            client.predict(_images(1), model="m", timeout_s=0.5)
        worker = start_worker()
        # Calls are taken in order, so the first one has been dropped.
        client.predict(_images(1), model="m", timeout_s=_TIMEOUT_S)
        assert 0 == server.llen(redis_keys.predict_answers(client.predictions._calls._client))

        server.flushdb()

        found = client.predict(_images(4), model="m", timeout_s=_TIMEOUT_S)
        np.testing.assert_array_equal(deployment.model.predict(_images(4)), found)
    worker.terminate()
    assert 0 == worker.wait(30)


def test_a_call_whose_sending_was_not_confirmed_is_answered_and_so_are_later_ones(
    shared: Any,
) -> None:
    with RedisProxy(shared.settings.redis_url.get_secret_value()) as proxy:
        url = SecretStr(proxy.url)
        client = Client.from_settings(shared.settings.model_copy(update={"redis_url": url}))
        client.predict(_images(1), model="m", timeout_s=_TIMEOUT_S)
        proxy.lose_reply_to(redis_keys.predict_calls(shared.settings.queue).encode())

        for _ in range(3):
            found = client.predict(_images(3), model="m", timeout_s=_TIMEOUT_S)
            np.testing.assert_array_equal(shared.model.predict(_images(3)), found)

        assert proxy.lost.is_set()
        client.close()
