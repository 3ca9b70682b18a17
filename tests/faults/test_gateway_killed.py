"""Gateways that are killed: what they accepted ends, once, and is told."""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from fornada.local.ports import free_port
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from fornada.trust.deployment_keys import new_key
from gateway.auth.api_keys import ApiKeys
from gateway.auth.scopes import Scope
from producer.client import Client

from ..deployment import environ_of, publish_unloadable
from ..integration.gateway.webhooks.receiver import Receiver

#: Each starts processes.
pytestmark = pytest.mark.slow

WaitUntil = Callable[..., None]
_KILLS = 4


class _Gateways:
    """Gateway processes, one after the other on one port."""

    def __init__(self, settings: Settings, log_path: Path) -> None:
        self.settings = settings.model_copy(
            update={"deployment_keys": SecretStr(new_key()), "webhook_hosts": "127.0.0.1"}
        )
        objects = S3ObjectStore.from_settings(self.settings)
        publish_unloadable(objects, "m", item_shape=[2, 2], classes=["a", "b"])
        _, token = ApiKeys(objects=objects).create("shop", scopes=list(Scope))
        self.client = Client.from_settings(self.settings)
        self._log_path = log_path
        self._port = free_port()
        self.http = httpx2.Client(
            base_url=f"http://127.0.0.1:{self._port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
        self.process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def one(self) -> Iterator[subprocess.Popen[bytes]]:
        """A gateway that answers; killed at the end of the block, if it was not before."""
        command = [sys.executable, "-m", "fornada", "gateway", "--port", str(self._port)]
        with self._log_path.open("ab") as log:
            process = subprocess.Popen(
                command, env=environ_of(self.settings), stdout=log, stderr=log
            )
        try:
            self._wait_until_up(process)
            yield process
        finally:
            process.kill()
            process.wait()

    def submit(self, receiver: Receiver, key: str) -> httpx2.Response:
        """Submit a job with a webhook."""
        asked = {
            "model": "m",
            "input": {"type": "inline", "items": [[[0, 0], [0, 0]]]},
            "webhook": {"url": receiver.url},
        }
        return self.http.post("/v1/jobs", json=asked, headers={"Idempotency-Key": key})

    def _wait_until_up(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + 60
        while True:
            assert process.poll() is None, self._log_path.read_text()
            assert time.monotonic() < until
            try:
                self.http.get("/healthz").raise_for_status()
            except httpx2.HTTPError:
                time.sleep(0.05)
            else:
                return


@pytest.fixture
def gateways(settings: Settings, tmp_path: Path) -> Iterator[_Gateways]:
    gateways = _Gateways(settings, tmp_path / "gateway.log")
    with gateways.http:
        yield gateways


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as receiver:
        yield receiver


def test_an_end_is_told_by_the_next_gateway_if_the_one_that_accepted_was_killed(
    gateways: _Gateways, receiver: Receiver, wait_until: WaitUntil
) -> None:
    with gateways.one():
        job = gateways.submit(receiver, "order").raise_for_status().json()
    gateways.client.job(job["id"]).cancel("by hand")

    with gateways.one() as process:
        wait_until(lambda: receiver.calls)
        state = f"/v1/jobs/{job['id']}/webhook"
        wait_until(lambda: gateways.http.get(state).json()["state"] == "delivered")
        process.terminate()
        process.wait(60)

    (call,) = receiver.calls
    told = Webhook(job["webhook"]["secret"]).verify(call.body, call.headers)
    assert ("CANCELLED", "by hand") == (told["data"]["state"], told["data"]["reason"])


def test_an_end_is_told_again_if_the_gateway_was_killed_while_it_told(
    gateways: _Gateways, receiver: Receiver, wait_until: WaitUntil
) -> None:
    receiver.statuses = [None]
    with gateways.one():
        job = gateways.submit(receiver, "order").raise_for_status().json()
        gateways.client.job(job["id"]).cancel()
        wait_until(lambda: receiver.calls)

    with gateways.one():
        # The other's lease has to run out first.
        wait_until(lambda: len(receiver.calls) == 2, timeout_s=150)

    assert 1 == len({call.headers["webhook-id"] for call in receiver.calls})


def test_a_request_that_is_sent_until_it_is_answered_makes_one_job_and_one_call(
    gateways: _Gateways, receiver: Receiver, wait_until: WaitUntil
) -> None:
    answers: list[httpx2.Response] = []
    is_over = threading.Event()

    def send() -> None:
        while not is_over.is_set():
            try:
                answers.append(gateways.submit(receiver, "order").raise_for_status())
            except httpx2.HTTPError:
                time.sleep(0.001)

    sending = threading.Thread(target=send)
    sending.start()
    for _ in range(_KILLS):
        with gateways.one():
            time.sleep(random.uniform(0, 0.1))
    with gateways.one():
        wait_until(lambda: answers)
        is_over.set()
        sending.join()
        assert 1 == len({answer.json()["id"] for answer in answers})
        assert 1 == len({answer.json()["webhook"]["secret"] for answer in answers})
        assert 1 == len(gateways.client.jobs())
        gateways.client.job(answers[0].json()["id"]).cancel()
        wait_until(lambda: receiver.calls)
        time.sleep(0.5)

    assert [answers[0].json()["id"]] == [json.loads(c.body)["data"]["id"] for c in receiver.calls]
