"""Waiting for a job through a gateway alone: events tell, and polls where none arrive."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fornada.coordination.interface import ShardEnd
from fornada.errors import WaitTimeoutError
from fornada.local.ports import free_port
from gateway.app import create_app
from gateway.auth.scopes import Scope as KeyScope
from producer.client import Client
from producer.job import Job
from producer.job_status import JobStatus
from producer.remote import gateway as remote_gateway
from producer.remote.client import RemoteClient
from producer.remote.gateway import Gateway
from producer.remote.job import RemoteJob
from producer.submitting.submission import Options, Submission
from producer.testing import in_memory_client

from .serving import gateway_of, served

WaitUntil = Callable[..., None]


class _Rig(NamedTuple):
    client: Client
    app: FastAPI
    key: str
    #: Of the requests that came.
    paths: list[str]

    def job(self) -> Job:
        """A job that nobody runs, of four shards."""
        options = Options(model="m", items_per_shard=1, owner="shop")
        items = Submission(inputs=np.zeros((4, 2, 2), np.uint8))
        return self.client.submit_with([items], options)[0]

    def remote(self, job: Job, url: str) -> RemoteJob:
        """The same job, through a gateway."""
        return RemoteClient(Gateway(url=url, api_key=self.key)).job(job.id)

    def count(self, end: str) -> int:
        """Requests whose path ends so."""
        return sum(path.endswith(end) for path in self.paths)


class _Counted:
    """ASGI middleware that keeps the paths of requests."""

    def __init__(self, app: ASGIApp, *, paths: list[str]) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._paths.append(scope["path"])
        await self._app(scope, receive, send)


class _Hoarding:
    """A proxy that passes on whole answers alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = []

        async def hoard(message: Message) -> None:
            messages.append(message)
            if not message.get("more_body", message["type"] == "http.response.start"):
                for each in messages:
                    await send(each)

        await self._app(scope, receive, hoard if scope["type"] == "http" else send)


@pytest.fixture
def rig() -> Iterator[_Rig]:
    with in_memory_client(
        model="m", item_shape=[2, 2], classes=["a", "b"], run_at_once=False
    ) as client:
        paths: list[str] = []
        app, key = gateway_of(client, scopes=[KeyScope.JOBS_READ])
        app.add_middleware(_Counted, paths=paths)
        yield _Rig(client, app, key, paths)


@pytest.fixture
def waiting(rig: _Rig) -> Iterator[Callable[[Job, str], "Future[JobStatus]"]]:
    """Waits for a job in another thread."""
    with ThreadPoolExecutor() as threads:
        yield lambda job, url: threads.submit(rig.remote(job, url).wait, 60)


def test_an_end_is_heard_and_not_asked_for(rig: _Rig, wait_until: WaitUntil) -> None:
    job = rig.job()
    done: list[int] = []
    with served(rig.app) as url, ThreadPoolExecutor() as threads:
        remote = rig.remote(job, url)
        ended = threads.submit(
            remote.wait, 60, on_progress=lambda status: done.append(status.shards_done)
        )
        wait_until(lambda: len(done) >= 2)
        rig.client.coordination.mark_done(job.id, [ShardEnd(1)])
        wait_until(lambda: 1 in done)
        job.cancel("enough")

        assert ("CANCELLED", "enough") == (ended.result().state, ended.result().reason)

    # One to find the job, one to begin with.
    assert (2, 1) == (rig.count(job.id), rig.count("/events"))


def test_a_waiter_outlives_its_gateway(
    rig: _Rig, waiting: Callable[[Job, str], "Future[JobStatus]"], wait_until: WaitUntil
) -> None:
    job = rig.job()
    port = free_port()
    with served(rig.app, port=port) as url:
        ended = waiting(job, url)
        wait_until(lambda: rig.count("/events"))
    job.cancel()
    app = create_app(rig.app.state.deployment)
    with served(app, port=port):
        assert "CANCELLED" == ended.result().state


def test_where_no_event_arrives_the_job_is_asked_for(
    rig: _Rig,
    waiting: Callable[[Job, str], "Future[JobStatus]"],
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote_gateway, "_SILENT_S", 0.05)
    job = rig.job()
    rig.app.add_middleware(_Hoarding)
    with served(rig.app) as url:
        ended = waiting(job, url)
        wait_until(lambda: rig.count(job.id) >= 4)
        job.cancel()

        assert "CANCELLED" == ended.result().state
    assert 1 == rig.count("/events")


def test_a_waiter_gives_up_between_two_events(rig: _Rig) -> None:
    job = rig.job()
    with served(rig.app) as url, pytest.raises(WaitTimeoutError, match=r"0 of 4 shards after 0\.3"):
        rig.remote(job, url).wait(0.3)

    assert 1 == rig.count("/events")
