"""What workers are scaled by, over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from fornada.coordination.interface import Claim, ShardEnd
from fornada.testing import InMemoryCoordination
from gateway.auth.scopes import Scope
from gateway.backlogs import Backlogs
from gateway.deployment import Deployment
from producer.client import Client
from producer.testing import in_memory_client
from producer.upkeep.backlog import Backlog, WorkCount

from .conftest import CallerOf

IMAGES = np.zeros((6, 2, 2), np.uint8)


@pytest.fixture
def client() -> Client:
    """A client of a model whose jobs nobody runs."""
    return in_memory_client(
        model="looks", item_shape=[2, 2], classes=["shirt", "shoe"], run_at_once=False
    )


def _work(caller: TestClient, queue: str) -> dict[str, Any]:
    """As KEDA asks: a number at a path without dots, under a status of 200."""
    answer = caller.get("/v1/backlog", params={"queue": queue})
    assert HTTPStatus.OK == answer.status_code
    document: dict[str, Any] = answer.json()
    assert isinstance(document["work"], int)
    return document


def test_running_shards_and_waiting_calls_count_as_work_of_their_queue(
    caller: TestClient, client: Client
) -> None:
    # given a shard that runs, one that waits, one that is done, and two calls
    job = client.submit(IMAGES, model="looks", items_per_shard=2)
    coordination = client.coordination
    assert isinstance(coordination, InMemoryCoordination)
    coordination.begin([Claim(job.id, 0, "a")], lease_s=60)
    coordination.mark_done(job.id, [ShardEnd(1)])
    client._channel.ask("fornada", [b"call", b"call"])

    document = _work(caller, "fornada")

    assert {"shards": 1, "items": 2} == document["running"] == document["queued"]
    assert (2, 4) == (document["calls"], document["work"])
    everything = caller.get("/v1/backlog").json()
    assert document == everything


def test_a_queue_without_jobs_has_no_work_and_a_misspelt_parameter_is_refused(
    caller: TestClient, client: Client
) -> None:
    client.submit(IMAGES, model="looks")

    assert {"shards": 0, "items": 0} == _work(caller, "gpu")["total"]
    assert HTTPStatus.UNPROCESSABLE_ENTITY == caller.get("/v1/backlog?queu=gpu").status_code


def test_no_key_without_the_scope_sees_it(caller_of: CallerOf) -> None:
    assert HTTPStatus.FORBIDDEN == caller_of(Scope.PREDICT).get("/v1/backlog").status_code


def test_it_is_counted_once_for_all_who_ask_and_anew_a_few_seconds_later(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now_s=0.0, monotonic=lambda: clock.now_s)
    monkeypatch.setattr("gateway.recent.time", clock)
    counted: list[int] = []

    def count() -> dict[str, Backlog]:
        counted.append(1)
        # It takes an hour.
        clock.now_s += 3600.0
        return {"fornada": Backlog(queued=WorkCount(shards=len(counted)))}

    client = deployment.client
    monkeypatch.setattr(client, "backlogs", count)
    backlogs = Backlogs(client)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(backlogs.of, ["fornada"] * 32))
    clock.now_s += 16.0
    later = backlogs.of("fornada")

    assert [1] * 32 == [backlog.work for backlog in found]
    assert 2 == later.work
