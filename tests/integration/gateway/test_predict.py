"""Predictions over HTTP: each kind of body, each kind of answer, and what goes wrong."""

import asyncio
import base64
import contextlib
import io
import re
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.numpy import load, save
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Send
from starlette.types import Scope as AsgiScope

from fornada.errors import BacklogFullError
from fornada.formats.npy import from_npy, to_npy
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor
from gateway.auth.scopes import Scope
from gateway.http.direct_paths import DirectPath, DirectPaths
from gateway.predicting.bodies import MAX_BODY_BYTES, MOST_LARGE_BODIES
from producer.client import Client
from producer.testing import in_memory_client

from .conftest import CallerOf
from .serving import gateway_of

ITEMS = np.uint8([[[0, 0], [0, 0]], [[1, 0], [0, 0]], [[5, 9], [7, 8]]])
PATH = "/v1/models/looks@prod/predict"
LABELS = ["shirt", "shoe", "bag"]


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def caller_of_client(client: Client) -> TestClient:
    """A caller who may do all, of a gateway in front of `client`."""
    app, token = gateway_of(client, scopes=[Scope.PREDICT])
    return TestClient(
        app,
        base_url="http://127.0.0.1",
        headers={"Authorization": f"Bearer {token}"},
        raise_server_exceptions=False,
    )


def test_items_as_json_are_predicted_with_labels_and_the_likeliest_classes(
    caller: TestClient, client: Client
) -> None:
    answer = caller.post(f"{PATH}?top_k=2", json={"items": ITEMS.tolist()})

    first = [{"label": "shirt", "score": 1.0}, {"label": "shoe", "score": 0.0}]
    assert (HTTPStatus.OK, "application/json") == (
        answer.status_code,
        answer.headers["Content-Type"],
    )
    found = answer.json()
    assert first == found["top"]["outputs"].pop(0)
    assert [each[0]["label"] for each in found.pop("top")["outputs"]] == LABELS[1:]
    assert {
        "model": client.model("looks").pin.model_dump(),
        "outputs": {"outputs": np.eye(3).tolist()},
        "labels": {"outputs": LABELS},
        "errors": [],
    } == found


@pytest.mark.parametrize(
    ("request_of", "count"),
    [
        ({"content": to_npy(ITEMS), "headers": {"Content-Type": "application/x-npy"}}, 3),
        (
            {
                "content": save({"inputs": ITEMS.astype(np.int64)}),
                "headers": {"Content-Type": "application/vnd.safetensors"},
            },
            3,
        ),
        (
            {"content": to_npy(ITEMS), "headers": {"Content-Type": "application/octet-stream"}},
            3,
        ),
        ({"content": png(ITEMS[0]), "headers": {"Content-Type": "image/png"}}, 1),
        (
            {"content": png(ITEMS[0]), "headers": {"Content-Type": "application/octet-stream"}},
            1,
        ),
        ({"files": [("image", (f"{n}.png", png(ITEMS[n]))) for n in range(3)]}, 3),
        ({"json": {"items": [{"b64": base64.b64encode(png(i)).decode()} for i in ITEMS]}}, 3),
        ({"json": {"items": {"inputs": ITEMS.tolist()}}}, 3),
    ],
    ids=["npy", "safetensors", "sniffed npy", "image", "sniffed image", "form", "base64", "named"],
)
def test_items_come_in_the_body_that_suits_them(
    caller: TestClient, request_of: dict[str, Any], count: int
) -> None:
    answer = caller.post(PATH, **request_of)

    assert (HTTPStatus.OK, LABELS[:count]) == (
        answer.status_code,
        answer.json()["labels"]["outputs"],
    )


def test_an_item_that_fails_does_so_alone(caller: TestClient) -> None:
    files = [("image", ("a.png", png(ITEMS[1]))), ("image", ("b.png", b"\x89PNG\r\n\x1a\nbroken"))]

    some = caller.post(PATH, files=files)
    none = caller.post(PATH, files=files[1:])
    as_npy = caller.post(PATH, files=files, headers={"Accept": "application/x-npy"})

    found = some.json()
    assert (HTTPStatus.OK, [[0.0, 1.0, 0.0], None], ["shoe", None], 1) == (
        some.status_code,
        found["outputs"]["outputs"],
        found["labels"]["outputs"],
        found["errors"][0]["item"],
    )
    assert "b.png is a broken image" in found["errors"][0]["reason"]
    for answer, where in ((none, "items[0]"), (as_npy, "items[1]")):
        assert (HTTPStatus.UNPROCESSABLE_ENTITY, "PredictionErrors", [where]) == (
            answer.status_code,
            answer.json()["code"],
            [error["where"] for error in answer.json()["errors"]],
        )


def test_outputs_go_out_as_the_caller_accepts_them(caller: TestClient) -> None:
    def ask(accept: str) -> Any:
        return caller.post(PATH, json={"items": ITEMS.tolist()}, headers={"Accept": accept})

    np.testing.assert_array_equal(
        np.eye(3, dtype=np.float32), from_npy(ask("application/x-npy").content, where="answer")
    )
    tensors = ask("text/html, application/vnd.safetensors;q=0.5")
    assert "application/vnd.safetensors" == tensors.headers["Content-Type"]
    np.testing.assert_array_equal(np.eye(3, dtype=np.float32), load(tensors.content)["outputs"])
    assert HTTPStatus.NOT_ACCEPTABLE == ask("text/html").status_code


def test_several_inputs_and_outputs_texts_and_photographs_go_by_their_names() -> None:
    inputs = [
        InputTensor(
            name="photo", dtype="uint8", shape=[2, 2], image=ImagePreprocessing(color="grayscale")
        ),
        InputTensor(name="text", dtype="string", shape=[]),
        InputTensor(name="tokens", dtype="int32", shape=[None]),
    ]
    outputs = [
        OutputTensor(name="sum", dtype="int64", shape=[], kind="tensor"),
        OutputTensor(name="echo", dtype="string", shape=[], kind="tensor"),
        OutputTensor(name="tags", shape=[2], kind="multilabel", classes=["old", "new"]),
    ]

    def predict(rows: dict[str, np.ndarray]) -> dict[str, Any]:
        count = len(rows["text"])
        return {
            "sum": rows["photo"].reshape(count, -1).sum(axis=1) + rows["tokens"].sum(axis=1),
            "echo": [text.decode() + "!" for text in rows["text"]],
            "tags": np.tile(np.float32([0.25, 0.75]), (count, 1)),
        }

    with in_memory_client(model="m", inputs=inputs, outputs=outputs, predict=predict) as client:
        asks = caller_of_client(client)
        photo = {"b64": base64.b64encode(png(ITEMS[1])).decode()}
        named = {"photo": [photo, photo], "text": ["été", "b"], "tokens": [[1, 2], [3]]}
        answer = asks.post("/v1/models/m/predict", json={"items": named})
        rows = [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
        by_rows = asks.post("/v1/models/m/predict", json={"items": rows})
        lacking = asks.post("/v1/models/m/predict", json={"items": {"photo": [photo]}})

    assert (
        {"sum": [4, 4], "echo": ["été!", "b!"], "tags": [[0.25, 0.75]] * 2},
        {"tags": [["new"], ["new"]]},
    ) == (answer.json()["outputs"], answer.json()["labels"])
    assert answer.json() == by_rows.json()
    assert (HTTPStatus.UNPROCESSABLE_ENTITY, "InputError") == (
        lacking.status_code,
        lacking.json()["code"],
    )


def test_a_text_is_an_item_of_a_model_of_strings() -> None:
    takes = [InputTensor(name="text", dtype="string", shape=[])]
    with in_memory_client(
        model="m",
        inputs=takes,
        outputs=[OutputTensor(name="length", shape=[], dtype="int64", kind="tensor")],
        predict=lambda texts: {"length": [len(text) for text in texts]},
    ) as client:
        answer = caller_of_client(client).post(
            "/v1/models/m/predict", content="été\n", headers={"Content-Type": "text/plain"}
        )

    assert {"length": [6]} == answer.json()["outputs"]


@pytest.mark.parametrize(
    ("path", "request_of", "status", "code"),
    [
        (PATH, {"content": b"x"}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "MediaTypeError"),
        (PATH, {"json": {"items": [[[1, 2, 3]]]}}, HTTPStatus.UNPROCESSABLE_ENTITY, "InputError"),
        (PATH, {"json": {"itens": []}}, HTTPStatus.UNPROCESSABLE_ENTITY, "InputError"),
        (PATH, {"json": {"items": []}}, HTTPStatus.UNPROCESSABLE_ENTITY, "InputError"),
        (PATH, {"json": {"items": [{"b64": "?"}]}}, HTTPStatus.UNPROCESSABLE_ENTITY, "InputError"),
        (
            PATH,
            {"content": "{", "headers": {"Content-Type": "application/json"}},
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "InputError",
        ),
        (
            PATH,
            {"content": b"", "headers": {"Content-Type": "application/json"}},
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "InputError",
        ),
        (
            PATH,
            {
                "content": to_npy(np.zeros((300_000, 2, 2), np.uint8)),
                "headers": {"Content-Type": "application/x-npy"},
            },
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "CallTooLargeError",
        ),
        (
            PATH,
            {
                "content": b"x",
                "headers": {
                    "Content-Type": "application/json",
                    "Content-Length": str(MAX_BODY_BYTES + 1),
                },
            },
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "TooLargeError",
        ),
        (
            f"{PATH}?timeout_s=0",
            {"json": {"items": ITEMS.tolist()}},
            HTTPStatus.BAD_REQUEST,
            "UsageError",
        ),
        (
            f"{PATH}?top_k=0",
            {"json": {"items": ITEMS.tolist()}},
            HTTPStatus.BAD_REQUEST,
            "UsageError",
        ),
        (
            "/v1/models/hats/predict",
            {"json": {"items": ITEMS.tolist()}},
            HTTPStatus.NOT_FOUND,
            "ModelNotFoundError",
        ),
    ],
)
def test_a_wrong_request_is_a_problem_document(
    caller: TestClient, path: str, request_of: dict[str, Any], status: HTTPStatus, code: str
) -> None:
    answer = caller.post(path, **request_of)

    assert (status, code, "application/problem+json") == (
        answer.status_code,
        answer.json()["code"],
        answer.headers["Content-Type"],
    )


def test_a_body_that_does_not_end_is_cut_off(caller: TestClient) -> None:
    sent = 0

    def body() -> Any:
        nonlocal sent
        for _ in range(2 * MAX_BODY_BYTES // 2**20):
            sent += 2**20
            yield bytes(2**20)

    answer = caller.post(PATH, content=body(), headers={"Content-Type": "application/json"})

    assert HTTPStatus.REQUEST_ENTITY_TOO_LARGE == answer.status_code


def test_a_key_without_the_scope_may_not_predict(caller_of: CallerOf) -> None:
    answer = caller_of(Scope.JOBS_WRITE).post(PATH, json={"items": ITEMS.tolist()})

    assert HTTPStatus.FORBIDDEN == answer.status_code
    assert "ForbiddenError" == answer.json()["code"]


def test_an_answer_that_is_late_or_refused_says_whether_to_try_again() -> None:
    with in_memory_client(model="m", item_shape=[2], classes=["a"], run_at_once=False) as client:
        asks = caller_of_client(client)

        def ask() -> Any:
            return asks.post("/v1/models/m/predict?timeout_s=0.05", json={"items": [[1, 2]]})

        late = ask()
        with pytest.MonkeyPatch.context() as patch:

            def full(*_: object) -> None:
                raise BacklogFullError("1000 calls wait for a worker already; call again later")

            patch.setattr(client.predictions._calls._channel, "ask", full)
            refused = ask()

    assert (HTTPStatus.GATEWAY_TIMEOUT, "WaitTimeoutError", "1") == (
        late.status_code,
        late.json()["code"],
        late.headers["Retry-After"],
    )
    assert "and 1 call waits for a worker" in late.json()["detail"]
    assert (HTTPStatus.TOO_MANY_REQUESTS, "BacklogFullError", "1") == (
        refused.status_code,
        refused.json()["code"],
        refused.headers["Retry-After"],
    )


def test_decoding_images_leaves_the_event_loop_free(
    caller: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    decode: Callable[..., Any] = np.asarray

    def waiting(data: bytes, **_: Any) -> Any:
        assert answered.wait(10)
        return decode(Image.open(io.BytesIO(data)))

    monkeypatch.setattr("producer.inputs.data.calls.decode_item", waiting)

    async def run() -> Any:
        transport = httpx2.ASGITransport(app=caller.app)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=caller.headers
        ) as asks:
            predicted = asyncio.ensure_future(
                asks.post(PATH, content=png(ITEMS[2]), headers={"Content-Type": "image/png"})
            )
            assert HTTPStatus.OK == (await asks.get("/healthz")).status_code
            answered.set()
            return (await predicted).json()["labels"]["outputs"]

    assert ["bag"] == asyncio.run(run())


def test_large_bodies_are_refused_while_too_many_are_in_memory(caller: TestClient) -> None:
    headers = {"Content-Type": "application/x-npy"}
    large = to_npy(np.zeros((20_000, 2, 2), np.uint8))
    bodies = caller.app.state.large_bodies
    with contextlib.ExitStack() as held:
        for _ in range(MOST_LARGE_BODIES):
            held.enter_context(bodies.room_for(Headers({})))
        refused = caller.post(PATH, content=large, headers=headers)
        infers = caller.post("/v2/models/looks/infer", content=large)
        small = caller.post(PATH, content=to_npy(ITEMS), headers=headers)

    assert [HTTPStatus.SERVICE_UNAVAILABLE] * 2 == [refused.status_code, infers.status_code]
    assert "1" == refused.headers["Retry-After"]
    assert HTTPStatus.OK == small.status_code
    assert HTTPStatus.OK == caller.post(PATH, content=large, headers=headers).status_code


def test_a_client_that_goes_away_leaves_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(request: Request) -> Response:
        return Response(await request.body())

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        raise AssertionError("nobody is there")

    paths = DirectPaths(_none, paths=[DirectPath(re.compile("/x"), answer, "/x")])
    scope = {"type": "http", "method": "POST", "path": "/x", "headers": []}

    asyncio.run(paths(scope, receive, send))

    assert [] == caplog.records


async def _none(scope: AsgiScope, receive: Receive, send: Send) -> None:
    raise AssertionError("it is not asked")
