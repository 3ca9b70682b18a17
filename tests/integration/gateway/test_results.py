"""Results and errors over HTTP: every format, and nothing that is damaged looks whole."""

import io
import json
import threading
import time
from http import HTTPStatus
from typing import IO

import httpx2
import numpy as np
import pyarrow.parquet
import pytest
import safetensors.numpy
from fastapi.testclient import TestClient

from fornada.storage.interface import ObjectStore
from gateway.auth.scopes import Scope
from producer.client import Client

from .conftest import CLASSES, CallerOf

ITEMS = np.arange(6, dtype=np.uint8).repeat(4).reshape(6, 2, 2)
IDS = list("abcdef")
LABELS = [CLASSES[n % 3] for n in range(6)]


@pytest.fixture
def path(client: Client) -> str:
    """A job of three shards of two items each."""
    job = client.submit(
        ITEMS, model="looks", item_ids=IDS, items_per_shard=2, idempotency_key="three-shards"
    )
    return f"/v1/jobs/{job.id}"


@pytest.fixture
def admin(caller_of: CallerOf) -> TestClient:
    """A caller who sees jobs that have no owner."""
    return caller_of(Scope.ADMIN)


@pytest.mark.parametrize("fmt", ["jsonl", "csv", "npy", "npz", "parquet", "arrow", "safetensors"])
def test_each_format_has_all_items_in_order(admin: TestClient, path: str, fmt: str) -> None:
    answer = admin.get(f"{path}/results", params={"format": fmt})

    assert HTTPStatus.OK == answer.status_code
    assert f'attachment; filename="three-shards.{fmt}"' == answer.headers["Content-Disposition"]
    # Whoever knows the size sees how far it is.
    size = str(len(answer.content)) if fmt == "npy" else None
    assert size == answer.headers.get("Content-Length")
    found = _labels_and_ids(answer.content, fmt)
    assert found == (LABELS, IDS if fmt != "npy" else None)


def _labels_and_ids(data: bytes, fmt: str) -> tuple[list[str], list[str] | None]:
    file: IO[bytes] = io.BytesIO(data)
    match fmt:
        case "jsonl":
            rows = [json.loads(line) for line in data.splitlines()]
            return [row["label"] for row in rows], [row["item_id"] for row in rows]
        case "csv":
            lines = [line.split(",") for line in data.decode().split("\r\n")[1:-1]]
            return [line[1] for line in lines], [line[0] for line in lines]
        case "parquet":
            table = pyarrow.parquet.read_table(file)
        case "arrow":
            table = pyarrow.ipc.open_file(file).read_all()
        case "safetensors":
            arrays = safetensors.numpy.load(data)
            return _named(arrays["outputs"]), list(arrays["ids.values"].tobytes().decode())
        case "npz":
            with np.load(file) as arrays:
                return _named(arrays["outputs"]), arrays["ids"].tolist()
        case _:
            return _named(np.load(file)), None
    return table["label"].to_pylist(), table["item_id"].to_pylist()


def _named(probabilities: np.ndarray) -> list[str]:
    return [CLASSES[n] for n in probabilities.argmax(axis=1)]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"format": "xlsx"}, HTTPStatus.UNPROCESSABLE_ENTITY),
        ({"format": "npy", "top_k": 2}, HTTPStatus.BAD_REQUEST),
        ({"top_k": 0}, HTTPStatus.UNPROCESSABLE_ENTITY),
    ],
)
def test_a_wrong_format_is_refused_before_the_answer_begins(
    admin: TestClient, path: str, query: dict[str, object], status: HTTPStatus
) -> None:
    assert status == admin.get(f"{path}/results", params=query).status_code


def test_results_need_their_scope(caller_of: CallerOf, path: str) -> None:
    answer = caller_of(Scope.JOBS_READ).get(f"{path}/results")

    assert HTTPStatus.FORBIDDEN == answer.status_code


def test_errors_are_there_even_if_none_failed(admin: TestClient, path: str) -> None:
    answer = admin.get(f"{path}/errors")

    assert (HTTPStatus.OK, b"", "application/jsonl") == (
        answer.status_code,
        answer.content,
        answer.headers["Content-Type"],
    )


@pytest.mark.parametrize("item_count", [6, 16000])
def test_what_is_damaged_is_no_whole_answer(
    admin: TestClient, client: Client, gateway_url: str, item_count: int
) -> None:
    """What shows before the answer begins is a problem; later, it is cut off."""
    items = np.zeros((item_count, 2, 2), np.uint8)
    job = client.submit(items, model="looks", items_per_shard=item_count // 2)
    objects = client._models.objects
    _damage_last_shard(objects, job.id)

    def ask() -> int:
        url = f"{gateway_url}/v1/jobs/{job.id}/results"
        return httpx2.get(url, headers=admin.headers).status_code

    if item_count == 6:
        assert HTTPStatus.UNPROCESSABLE_ENTITY == ask()
    else:
        with pytest.raises(httpx2.RemoteProtocolError):
            ask()


def test_nothing_is_read_on_for_a_client_that_left(
    admin: TestClient, client: Client, gateway_url: str
) -> None:
    items = np.zeros((60_000, 2, 2), np.uint8)
    job = client.submit(items, model="looks", items_per_shard=2000)

    url = f"{gateway_url}/v1/jobs/{job.id}/results"
    with httpx2.stream("GET", url, headers=admin.headers) as answer:
        next(answer.iter_raw())

    # The writer would wait for room for ever.
    while any(thread.name == "answer" for thread in threading.enumerate()):
        time.sleep(0.01)


def _damage_last_shard(objects: ObjectStore, job_id: str) -> None:
    for info in objects.list(f"jobs/{job_id}/outcome/"):
        if info.key.endswith("00000001.json"):
            outcome = json.loads(objects.get(info.key).data)
            objects.put(info.key, json.dumps({**outcome, "item_errors": [_FAILED]}).encode())


_FAILED = {"index": 0, "reason": "made up"}
