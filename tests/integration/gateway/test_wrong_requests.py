"""Requests with parameters or fields that there are not, or that are wrong, and what is said."""

import re
from http import HTTPStatus
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gateway.auth.scopes import Scope
from producer.client import Client

from .conftest import CallerOf

ITEM = [[0, 0], [0, 0]]
INLINE: dict[str, Any] = {"model": "looks@prod", "input": {"type": "inline", "items": [ITEM]}}


def test_no_operation_ignores_a_query_parameter(caller: TestClient) -> None:
    app = caller.app
    assert isinstance(app, FastAPI)
    ignoring = [
        f"{method} {path}: {answer.text}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
        for answer in [caller.request(method, path.replace("{", "").replace("}", "") + "?nosuch=1")]
        if answer.status_code != (400 if path.startswith("/v2") else 422)
        or "query.nosuch: " not in (answer.json().get("detail") or answer.json()["error"])
    ]

    assert [] == ignoring


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "/v1/models/looks/predict?topk=2",
            "query.topk: POST /v1/models/{model}/predict has no such query parameter; "  # noqa: ISC004
            "did you mean top_k? there are timeout_s, top_k",
        ),
        (
            "/v1/jobs?wait=1",
            "query.wait: POST /v1/jobs has no such query parameter; there is none",
        ),
    ],
)
def test_an_unknown_query_parameter_is_told_those_that_there_are(
    caller: TestClient, path: str, said: str
) -> None:
    answer = caller.post(path, json={"items": [ITEM]})

    assert (HTTPStatus.UNPROCESSABLE_ENTITY, said) == (
        answer.status_code,
        answer.json()["detail"],
    )


@pytest.mark.parametrize(
    ("request_json", "said"),
    [
        (
            INLINE | {"input": {"type": "inline", "items": [ITEM], "ids": ["a"]}},
            {"body.input.ids": "no such field; there are item_ids, items, type"},
        ),
        (INLINE | {"input": {"type": "inline"}}, {"body.input.items": "Field required"}),
        (
            INLINE | {"input": {"type": "s3", "uri": "photos"}},
            {"body.input.uri": "write it as 's3://bucket/prefix/'"},
        ),
        (
            INLINE | {"input": {"type": "inline", "items": 7}},
            {
                "body.input.items": "Input should be a valid array, or Input should be an object",
            },
        ),
        (
            INLINE | {"max_failed": [], "columns": {"a": 1}, "deadline_s": 0},
            {
                "body.deadline_s": "Input should be greater than 0",
                "body.max_failed": "Input should be a valid integer, or Input should be a valid "
                "string",
                "body.columns.a": "Input should be a valid string, or Input should be a valid "
                "array",
            },
        ),
        (
            INLINE | {"image": {"like": "no-such", "size": 3}, "webhook": {"url": "x"}},
            {
                "body.image.size": "no such field; did you mean resize? there are "
                "antialias, exif, interpolation, like, resize",
            },
        ),
    ],
)
def test_wrong_fields_are_named_as_they_were_written(
    caller: TestClient, request_json: dict[str, Any], said: dict[str, str]
) -> None:
    answer = caller.post("/v1/jobs", json=request_json)

    found = {error["where"]: error["message"] for error in answer.json()["errors"]}
    assert said == {where: found.get(where) for where in said}, found
    assert all(f"{where}: {why}" in answer.json()["detail"] for where, why in said.items())


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("GET", "/v1/jobs?tag=x", None, "query.tag: write it as 'name=value'"),
        (
            "POST",
            "/v1/models/looks/predict",
            {"items": [ITEM], "top": 1},
            "top: no such field; there are items",
        ),
        (
            "POST",
            "/v1/models/looks/aliases/prod",
            {"version": 1, "gate": "x>1"},
            "body.gate: no such field; did you mean gates? there are gates, version",
        ),
        (
            "POST",
            "/v1/uploads",
            {"items": [{"id": "a", "size": 3}]},
            "body.items.0.size: no such field; there are bytes, id, sha256",
        ),
    ],
)
def test_what_there_is_is_named_everywhere(
    caller: TestClient, method: str, path: str, body: object, said: str
) -> None:
    answer = caller.request(method, path, json=body)

    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.json()["detail"].startswith(said), answer.text


def test_the_json_of_a_form_is_told_its_own_fields(caller: TestClient) -> None:
    answer = caller.post(
        "/v1/jobs",
        files=[("request", (None, '{"model": "looks", "inputs": 1}', "application/json"))],
    )

    said = answer.json()["detail"]
    assert "body.inputs: no such field; there are columns, deadline_s" in said, said
    assert " input," not in said


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/jobs", "GET, POST"),
        ("PATCH", "/v1/jobs/x", "DELETE, GET"),
        ("GET", "/v1/models/looks/predict", "POST"),
        ("POST", "/healthz", "GET"),
        ("PUT", "/v2/models/looks/infer", "POST"),
    ],
)
def test_a_method_that_a_path_has_not_is_told_those_that_it_has(
    caller: TestClient, method: str, path: str, allow: str
) -> None:
    answer = caller.request(method, path)

    assert (HTTPStatus.METHOD_NOT_ALLOWED, allow) == (answer.status_code, answer.headers["Allow"])
    said = answer.json()
    assert f"{path} has {allow}, and no {method}" == said.get("detail", said.get("error"))


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/nothing", "detail"),
        ("/v1/jobs/a/b/c", "detail"),
        ("/v2/models/looks/config", "error"),
        ("/v2/repository/index", "error"),
    ],
)
def test_an_unknown_path_is_told_as_its_api_tells(
    caller: TestClient, path: str, field: str
) -> None:
    answers = [caller.get(path), caller.post(path)]

    assert [(HTTPStatus.NOT_FOUND, f"there is no {path}; see /docs")] * 2 == [
        (answer.status_code, answer.json()[field]) for answer in answers
    ]


def test_jobs_are_found_by_the_alias_of_their_model(caller: TestClient) -> None:
    job_id = caller.post("/v1/jobs", json=INLINE).json()["id"]

    found = caller.get("/v1/jobs?model=looks@prod")
    unknown = caller.get("/v1/jobs?model=looks@nosuch")

    assert [job_id] == [job["id"] for job in found.json()["data"]]
    assert (HTTPStatus.NOT_FOUND, "ModelNotFoundError") == (
        unknown.status_code,
        unknown.json()["code"],
    )


#: What only the command line, Python or an operator has.
_OF_OTHER_DOORS = re.compile(r"fornada jobs|(?<![\w-])--[a-z]|retry_failed|FORNADA_INPUT_PREFIXES")


def test_remedies_are_in_the_words_of_http(
    caller: TestClient, caller_of: CallerOf, client: Client
) -> None:
    objects = client._models.objects
    objects.put("inputs/photos/a.txt", b"x")
    objects.put("inputs/rows/a.csv", b"one,two,three\n1,2,3\n")
    ended = caller.post("/v1/jobs", json=INLINE).headers["Location"]
    client._creator.sender.enqueue = lambda *_, **__: None  # type: ignore[method-assign]
    is_open = caller.post("/v1/jobs", json=INLINE).headers["Location"]
    cancelled = caller.post("/v1/jobs", json=INLINE).headers["Location"]
    caller.post(f"{cancelled}/cancel")

    def submitted(uri: str, **more: object) -> httpx2.Response:
        source = {"type": "s3", "uri": f"s3://fornada/{uri}", **more}
        given = {"model": "looks", "input": source}
        return caller_of(Scope.ADMIN, owner="root").post("/v1/jobs", json=given)

    refused = [
        caller.get("/v1/jobs/no-such-job"),
        caller.get(f"{is_open}/results"),
        caller.get(f"{cancelled}/results"),
        caller.get(f"{ended}/results?format=npy&top_k=2"),
        caller.post(f"{ended}/resume"),
        caller.post(f"{ended}/retry-failed"),
        submitted("inputs/photos/", include=["*.png"]),
        submitted("inputs/rows/"),
        submitted("secret/"),
        caller.post("/v1/jobs", json=INLINE | {"input": {"type": "s3", "uri": "s3://lake/a/"}}),
    ]

    details = [answer.json()["detail"] for answer in refused]
    # Keys are made with a command alone.
    said = [re.sub("`fornada keys create [^`]*`", "", detail) for detail in details]
    assert [] == [detail for detail in said if _OF_OTHER_DOORS.search(detail)]
    assert "GET /v1/jobs lists yours" in details[0]
    assert "`partial` results" in details[1]
    assert "leave top_k out" in details[3]
    assert "ask whoever runs the deployment" in details[8], details[8]
