"""Models, workers and the backlog over HTTP."""

from http import HTTPStatus

import numpy as np
import pytest
from fastapi.testclient import TestClient

from fornada.coordination.memory import InMemoryCoordination
from fornada.coordination.worker_board.interface import WorkerReport
from fornada.errors import StoreUnavailableError
from fornada.records import now
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from model_store.manifest import ModelDraft
from producer.client import Client

from .conftest import CallerOf


@pytest.fixture(autouse=True)
def second_version(client: Client) -> None:
    """A version 2 of `looks`, with a metric and a report."""
    models = client._models
    first = models.resolve("looks:1")
    models.publish(
        ModelDraft(
            name="looks", inputs=first.inputs, outputs=first.outputs, metrics={"accuracy": 0.8}
        ),
        artifact=b"two",
        golden_inputs=np.zeros((1, 2, 2), np.uint8),
        golden_outputs=np.ones((1, 3), np.float32),
        files={"report.html": b"<h1>A report</h1>"},
        check=lambda _: None,
    )


def test_a_model_is_shown_with_versions_and_aliases(caller: TestClient) -> None:
    listed = caller.get("/v1/models").json()["data"]
    shown = caller.get("/v1/models/looks").json()
    versions = caller.get("/v1/models/looks/versions").json()["data"]

    assert [{"name": "looks", "versions": 2, "latest": 2, "aliases": {"prod": 1}}] == listed
    assert ([1, 2], ["prod"]) == (shown["versions"], [each["alias"] for each in shown["aliases"]])
    assert [(2, {"accuracy": 0.8}, True), (1, {}, False)] == [
        (each["version"], each["metrics"], each["has_report"]) for each in versions
    ]
    assert versions[0] == caller.get("/v1/models/looks/versions/2").json()


def test_an_alias_is_moved_if_the_gates_hold_and_back(caller: TestClient) -> None:
    path = "/v1/models/looks/aliases/prod"

    refused = caller.post(path, json={"version": 2, "gates": ["accuracy>=0.9"]})
    moved = caller.post(path, json={"version": 2, "gates": ["accuracy>=0.7"]}).json()
    back = caller.post(f"{path}/rollback").json()

    assert (HTTPStatus.CONFLICT, "GateNotMetError") == (
        refused.status_code,
        refused.json()["code"],
    )
    assert [2, 1] == [moved["version"], back["version"]]
    assert [1, 2, 1] == [move["version"] for move in back["history"]]


def test_an_alias_needs_its_scope(caller_of: CallerOf) -> None:
    answer = caller_of(Scope.MODELS_READ).post("/v1/models/looks/aliases/prod", json={"version": 2})

    assert HTTPStatus.FORBIDDEN == answer.status_code


def test_a_report_runs_nothing_in_the_gateways_name(caller: TestClient) -> None:
    report = caller.get("/v1/models/looks/versions/2/report")

    assert ("<h1>A report</h1>", True) == (
        report.text,
        report.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'"),
    )


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/hats",
        "/v1/models/hats/versions",
        "/v1/models/looks/versions/9",
        "/v1/models/looks/versions/1/report",
    ],
)
def test_what_does_not_exist_is_not_found(caller: TestClient, path: str) -> None:
    answer = caller.get(path)

    assert (HTTPStatus.NOT_FOUND, "ModelNotFoundError") == (
        answer.status_code,
        answer.json()["code"],
    )


def test_workers_and_backlog_are_shown(caller: TestClient, client: Client) -> None:
    coordination = client._coordination
    assert isinstance(coordination, InMemoryCoordination)
    report = WorkerReport(
        name="w-1",
        version="1",
        queue="fornada",
        engine="keras",
        models=["looks:1"],
        threads=2,
        shards_running=1,
        items_done=3,
        items_per_s=0.5,
        started_at=now(),
    )
    coordination.report(report)

    (worker,) = caller.get("/v1/workers").json()["data"]

    assert ("w-1", ["looks:1"], None) == (
        worker["name"],
        worker["models"],
        worker["last_progress_at"],
    )
    assert {"shards": 0, "items": 0} == caller.get("/v1/backlog").json()["total"]


def test_a_gateway_is_ready_while_store_and_redis_answer(
    caller: TestClient, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    del caller.headers["Authorization"]
    before = caller.get("/readyz")

    def away() -> None:
        raise StoreUnavailableError("the store is away; start it")

    monkeypatch.setattr(deployment.objects, "server_time", away)
    after = caller.get("/readyz")

    assert [HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE] == [
        before.status_code,
        after.status_code,
    ]
