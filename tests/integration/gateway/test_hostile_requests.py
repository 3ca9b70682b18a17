"""Small requests that would take much: refused, and served beside others."""

import asyncio
import gzip
import json
import tracemalloc
from http import HTTPStatus
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message
from structlog.testing import capture_logs

from gateway.auth.sessions import COOKIE
from gateway.predicting.bodies import MOST_ITEMS

_PREDICT, _INFER = "/v1/models/looks/predict", "/v2/models/looks/infer"
#: NumPy's array of these texts has 160 MB.
_TEXTS = ["a" * 20_000, *[""] * 2_000]


def _inline(items: object) -> dict[str, Any]:
    return {"model": "looks", "input": {"type": "inline", "items": items}}


def _tensor(**changed: object) -> dict[str, Any]:
    tensor = {"name": "inputs", "shape": [1, 2, 2], "datatype": "UINT8", "data": [0] * 4}
    return {"inputs": [tensor | changed]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (_PREDICT, {"items": _TEXTS}),
        (_PREDICT, {"items": [1, *_TEXTS]}),
        (_PREDICT, {"items": {"inputs": [[each] for each in _TEXTS]}}),
        (_INFER, _tensor(data=_TEXTS, shape=[len(_TEXTS)])),
        ("/v1/jobs", _inline(_TEXTS)),
        ("/v1/jobs", _inline({"inputs": _TEXTS})),
        ("/v1/jobs", _inline([[1], _TEXTS])),
    ],
)
def test_a_long_text_among_short_ones_does_not_make_all_as_long(
    caller: TestClient, path: str, body: object
) -> None:
    caller.get("/v1/models")
    tracemalloc.start()
    try:
        answer = caller.post(path, json=body)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert HTTPStatus.UNPROCESSABLE_ENTITY == answer.status_code
    assert peak_bytes < 32 * 1024 * 1024


def _many(count: int) -> dict[str, Any]:
    return _tensor(shape=[count], datatype="BYTES", data=[""] * count)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (_PREDICT, {"items": [[]] * (MOST_ITEMS + 1)}, 413),
        (_PREDICT, {"items": {"inputs": [0] * (MOST_ITEMS + 1)}}, 413),
        (_PREDICT, {"items": {f"i{n}": [] for n in range(65)}}, 422),
        (_INFER, _many(MOST_ITEMS + 1), 413),
    ],
)
def test_items_beyond_number_are_refused_before_they_are_looked_at(
    caller: TestClient, path: str, body: object, status: int
) -> None:
    assert status == caller.post(path, json=body).status_code


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "", "1e3"])
def test_a_length_that_is_none_is_refused(caller: TestClient, length: str) -> None:
    answer = caller.post(
        _INFER,
        content=json.dumps(_tensor()),
        headers={"Inference-Header-Content-Length": length},
    )

    assert HTTPStatus.UNPROCESSABLE_ENTITY == answer.status_code
    assert "give the length of its JSON" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/uploads", _PREDICT, _INFER])
def test_a_body_that_is_compressed_is_said_to_be(caller: TestClient, path: str) -> None:
    answer = caller.post(
        path,
        content=gzip.compress(b"{}"),
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    )

    assert HTTPStatus.UNSUPPORTED_MEDIA_TYPE == answer.status_code


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/uploads", _PREDICT, _INFER, "/try"])
def test_a_client_that_is_gone_is_no_error_of_the_gateway(caller: TestClient, path: str) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        assert message["type"].startswith("http.response")

    headers = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": "9"}
    key = caller.headers["Authorization"]
    cookie = f"{COOKIE}={caller.app.state.deployment.sessions.begin(key.split()[1])}"  # type: ignore[attr-defined]  # as FastAPI
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [
            (name.lower().encode(), value.encode())
            for name, value in {**headers, "Authorization": key, "Cookie": cookie}.items()
        ],
    }
    with capture_logs() as logs:
        # uvicorn would log what is raised.
        asyncio.run(caller.app(scope, receive, send))  # type: ignore[arg-type]  # it is one

    assert [] == [line for line in logs if line["log_level"] == "error"]
