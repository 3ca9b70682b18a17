"""Jobs followed as server-sent events."""

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator

import httpx2
import numpy as np
import pytest
import redis
from fastapi.testclient import TestClient

from fornada.coordination.interface import ShardEnd
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from gateway import app as gateway_app
from gateway import server as gateway_server
from gateway.app import create_app
from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.rates import Rates
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from gateway.live import jobs as live_jobs
from producer.client import Client
from producer.job import Job
from producer.submitting.submission import Options, Submission
from producer.testing import in_memory_client

from ...deployment import publish_unloadable
from .conftest import CallerOf
from .serving import Event, events_of, running, served

IMAGES = np.zeros((10, 2, 2), np.uint8)
WaitUntil = Callable[..., None]


class _Gateway:
    """A gateway on a socket, whose jobs nobody runs."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.client = deployment.client
        self.app = create_app(deployment)
        _, token = deployment.identity.api_keys.create("shop", scopes=list(Scope))
        self.headers = {"Authorization": f"Bearer {token}"}

    def submit(self, shards: int = 5) -> Job:
        """A job of two items a shard."""
        images = np.zeros((2 * shards, 2, 2), np.uint8)
        options = Options(model="m", items_per_shard=2, owner="shop")
        return self.client.submit_with([Submission(inputs=images)], options)[0]


@contextlib.contextmanager
def _following(url: str, gateway: _Gateway, job: Job, query: str = "") -> Iterator[Iterator[Event]]:
    path = f"{url}/v1/jobs/{job.id}/events{query}"
    with httpx2.stream("GET", path, headers=gateway.headers, timeout=60) as answer:
        assert 200 == answer.status_code
        assert "text/event-stream; charset=utf-8" == answer.headers["Content-Type"]
        yield events_of(answer)


@pytest.fixture
def gateway() -> Iterator[_Gateway]:
    with in_memory_client(
        model="m", item_shape=[2, 2], classes=["a", "b"], run_at_once=False
    ) as client:
        objects = client._models.objects
        identity = Identity(api_keys=ApiKeys(objects=objects), rates=Rates.in_memory())
        yield _Gateway(Deployment.of(Settings(), objects=objects, client=client, identity=identity))


def test_events_begin_with_the_job_and_end_with_it(gateway: _Gateway) -> None:
    job = gateway.submit()

    with (
        served(gateway.app) as url,
        _following(url, gateway, job) as events,
        _following(url, gateway, job, "?shards=true") as with_shards,
    ):
        first = next(events)
        assert ("progress", "QUEUED", 10) == (
            first.name,
            first.data["state"],
            first.data["counts"]["pending"],
        )
        assert [Event("shard", {"queued": [[0, 4]]}), first] == [
            next(with_shards),
            next(with_shards),
        ]

        gateway.client.coordination.mark_done(job.id, [ShardEnd(1), ShardEnd(2, dead=True)])
        assert 6 == next(events).data["counts"]["pending"]
        assert Event("shard", {"ok": [[1, 1]], "dead": [[2, 2]]}) == next(with_shards)

        job.cancel("enough")
        rest = list(events)
        assert ["progress", "shard", "ended"] == [event.name for event in with_shards]

    assert [("ended", "CANCELLED", "enough")] == [
        (event.name, event.data["state"], event.data["reason"]) for event in rest
    ]


def test_a_job_that_has_ended_is_told_at_once(gateway: _Gateway) -> None:
    job = gateway.submit()
    job.cancel()

    with served(gateway.app) as url, _following(url, gateway, job, "?shards=true") as events:
        told = list(events)

    assert Event("shard", {"missing": [[0, 4]]}) == told[0]
    assert ["ended", "CANCELLED"] == [told[1].name, told[1].data["state"]]


def test_a_quiet_stream_has_comments_and_ends_with_the_gateway(
    gateway: _Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_jobs, "_KEEP_ALIVE_S", 0.05)
    job = gateway.submit()
    names = []

    with served(gateway.app) as url:
        following = _following(url, gateway, job)
        events = following.__enter__()
        names += [next(events).name for _ in range(3)]
    with contextlib.suppress(httpx2.HTTPError):
        names += [event.name for event in events]

    assert ["progress", "comment", "comment"] == names[:3]
    assert {"comment"} >= set(names[3:])


def test_a_stream_ends_with_its_key(gateway: _Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_jobs, "_CHECK_EVERY_S", 0.05)
    monkeypatch.setattr(live_jobs, "_KEEP_ALIVE_S", 0.05)
    job = gateway.submit()
    api_keys = gateway.deployment.identity.api_keys

    with served(gateway.app) as url, _following(url, gateway, job) as events:
        assert "progress" == next(events).name
        api_keys.revoke(api_keys.all()[0].id)

        comments = list(itertools.islice(events, 60))

    assert ({"comment"}, True) == (
        {each.name for each in comments} | {"comment"},
        len(comments) < 60,
    )


@pytest.mark.slow
def test_a_follower_who_reads_nothing_holds_little_and_is_cut_off(
    gateway: _Gateway, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr(gateway_app, "_IDLE_S", 0.5)
    monkeypatch.setattr(gateway_server, "_LOOK_EVERY_TICKS", 2)
    gateway = _Gateway(gateway.deployment)
    shard_count = 6000
    job = gateway.submit(shard_count)
    every_other = [ShardEnd(shard) for shard in range(0, shard_count, 2)]
    gateway.client.coordination.mark_done(job.id, every_other)
    head = f"GET /v1/jobs/{job.id}/events?shards=true HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    key = f"Authorization: {gateway.headers['Authorization']}\r\n\r\n"

    with (
        running(gateway.app, send_buffer_bytes=8192) as (server, port),
        socket.socket() as reader,
    ):
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", port))
        reader.sendall((head + key).encode())
        held: list[int] = []
        wait_until(lambda: server.server_state.connections)

        def is_cut_off() -> bool:
            connections = list(server.server_state.connections)
            held.extend(each.transport.get_write_buffer_size() for each in connections)
            shard = min(2 * len(held) + 1, shard_count - 1)
            gateway.client.coordination.mark_done(job.id, [ShardEnd(shard)])
            return not connections

        wait_until(is_cut_off)

    # Of all that happened, no more than the first event.
    assert 0 < max(held) < 24 * shard_count


def test_events_need_a_scope_and_the_callers_own_job(
    caller: TestClient, caller_of: CallerOf, client: Client
) -> None:
    job = client.submit_with([Submission(inputs=IMAGES)], Options(model="looks", owner="shop"))[0]
    path = f"/v1/jobs/{job.id}/events"

    assert 200 == caller.get(path).status_code
    assert 404 == caller_of(Scope.JOBS_READ, owner="other").get(path).status_code
    assert 403 == caller_of(Scope.RESULTS_READ).get(path).status_code
    assert 404 == caller.get("/v1/jobs/none/events").status_code


@pytest.mark.slow
def test_a_thousand_listeners_cost_redis_one_subscription(
    settings: Settings, wait_until: WaitUntil
) -> None:
    objects = S3ObjectStore.from_settings(settings)
    publish_unloadable(objects, "m", item_shape=[2, 2], classes=["a", "b"])
    identity = Identity(api_keys=ApiKeys(objects=objects), rates=Rates.in_memory())
    client = Client.from_settings(settings)
    gateway = _Gateway(Deployment.of(settings, objects=objects, client=client, identity=identity))
    job, count = gateway.submit(), 1000
    began, ended = [], []

    async def listen(url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"GET /v1/jobs/{job.id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        key = f"Authorization: {gateway.headers['Authorization']}\r\n\r\n"
        writer.write((head + key).encode())
        await reader.readuntil(b"event: progress")
        began.append(1)
        await reader.readuntil(b"event: ended")
        ended.append(1)
        writer.close()

    async def listen_all(url: str) -> None:
        await asyncio.gather(*(listen(url) for _ in range(count)))

    with served(gateway.app) as url:
        thread = threading.Thread(target=lambda: asyncio.run(listen_all(url)))
        thread.start()
        wait_until(lambda: len(began) == count)
        with redis.Redis.from_url(settings.redis_url.get_secret_value()) as server:
            subscribed = server.client_list(_type="pubsub")
        Client.from_settings(settings).job(job.id).cancel()
        thread.join(60)

    assert 1 == len(subscribed)
    assert count == len(ended)
