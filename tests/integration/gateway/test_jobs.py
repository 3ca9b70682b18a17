"""Jobs over HTTP."""

from http import HTTPStatus

import pytest
from fastapi.testclient import TestClient

from gateway.auth.scopes import Scope
from producer.client import Client

from .conftest import CallerOf

ITEMS = [[[0, 0], [0, 0]], [[1, 0], [0, 0]], [[5, 0], [0, 0]]]
INLINE = {"model": "looks@prod", "input": {"type": "inline", "items": ITEMS}}


def test_an_inline_job_is_accepted_and_shown(caller: TestClient) -> None:
    accepted = caller.post("/v1/jobs", json={**INLINE, "tags": {"team": "x"}})

    assert (HTTPStatus.ACCEPTED, f"/v1/jobs/{accepted.json()['id']}") == (
        accepted.status_code,
        accepted.headers["Location"],
    )
    shown = caller.get(accepted.headers["Location"]).json()
    assert ("SUCCEEDED", {"total": 3, "ok": 3, "failed": 0, "pending": 0}, {"team": "x"}) == (
        shown["state"],
        shown["counts"],
        shown["tags"],
    )


def test_the_same_idempotency_key_gives_the_same_job_to_one_owner_alone(
    caller_of: CallerOf,
) -> None:
    headers = {"Idempotency-Key": "order 7/8"}
    shop, bank = caller_of(owner="shop"), caller_of(owner="bank")

    ids = [
        c.post("/v1/jobs", json=INLINE, headers=headers).json()["id"] for c in (shop, shop, bank)
    ]

    assert ids[0] == ids[1] != ids[2]


def test_an_idempotency_key_finds_the_job_of_its_own_caller_alone(caller_of: CallerOf) -> None:
    shop, bank = caller_of(owner="shop"), caller_of(owner="bank")
    job_id = shop.post("/v1/jobs", json=INLINE, headers={"Idempotency-Key": "order 7/8"}).json()[
        "id"
    ]
    shop.post("/v1/jobs", json=INLINE)

    def found(caller: TestClient, **query: str) -> list[str]:
        answer = caller.get("/v1/jobs", params={"idempotency_key": "order 7/8", **query})
        return [job["id"] for job in answer.json()["data"]]

    assert ([job_id], [job_id], [], []) == (
        found(shop),
        found(shop, state="SUCCEEDED"),
        found(shop, state="QUEUED"),
        found(bank),
    )


def test_a_job_is_accepted_in_the_same_shape_with_a_key_and_without(caller: TestClient) -> None:
    without, given = (
        caller.post("/v1/jobs", json=INLINE, headers=headers).json()
        for headers in ({}, {"Idempotency-Key": "order-7"})
    )

    def nulls(document: object) -> list[object]:
        return [
            (name, sorted(key for key, value in part.items() if value is None))
            for name, part in document.items()  # type: ignore[attr-defined]
            if isinstance(part, dict)
        ]

    assert nulls(given) == nulls(without)
    assert (0, 0) == (without["counts"]["failed"], without["shards"]["waiting"])


def test_a_key_that_was_used_for_other_work_is_a_conflict(caller: TestClient) -> None:
    headers = {"Idempotency-Key": "order 7/8"}
    caller.post("/v1/jobs", json=INLINE, headers=headers)

    other = {**INLINE, "input": {"type": "inline", "items": ITEMS[:1]}}
    answer = caller.post("/v1/jobs", json=other, headers=headers)

    assert (HTTPStatus.CONFLICT, "JobConflictError") == (
        answer.status_code,
        answer.json()["code"],
    )


def test_another_owner_does_not_learn_of_a_job(caller_of: CallerOf) -> None:
    path = caller_of(Scope.JOBS_WRITE).post("/v1/jobs", json=INLINE).headers["Location"]

    seen = caller_of(Scope.JOBS_READ, owner="bank").get(path)

    assert (HTTPStatus.NOT_FOUND, "JobNotFoundError") == (
        seen.status_code,
        seen.json().get("code"),
    )


def test_what_was_predicted_is_for_keys_that_may_read_results(caller_of: CallerOf) -> None:
    path = caller_of(Scope.JOBS_WRITE).post("/v1/jobs", json=INLINE).headers["Location"]
    reader, viewer = caller_of(Scope.JOBS_READ, Scope.RESULTS_READ), caller_of(Scope.JOBS_READ)

    figures = [each.get(path).json()["figures"] for each in (reader, viewer)]
    drifts = [
        each.get(f"{path}/drift", params={"against": path.rsplit("/", 1)[-1]})
        for each in (reader, viewer, caller_of(Scope.RESULTS_READ, owner="bank"))
    ]

    (predicted,) = figures[0]["predicted"]
    assert [1, 1, 1] == [each["items"] for each in predicted["classes"]]
    assert figures[0] | {"predicted": []} == figures[1]
    assert [HTTPStatus.OK, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND] == [
        each.status_code for each in drifts
    ]
    assert "stable" == drifts[0].json()["verdict"]
    missing = reader.get(f"{path}/drift")
    assert (HTTPStatus.CONFLICT, "DriftUnknownError") == (
        missing.status_code,
        missing.json()["code"],
    )


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({**INLINE, "model": "hats"}, HTTPStatus.NOT_FOUND, "ModelNotFoundError"),
        ({**INLINE, "colour": "red"}, HTTPStatus.UNPROCESSABLE_ENTITY, "RequestError"),
        (
            {**INLINE, "input": {"type": "inline", "items": [[1, 2, 3]]}},
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "InputError",
        ),
        (
            {**INLINE, "input": {"type": "s3", "uri": "s3://secrets/all/"}},
            HTTPStatus.FORBIDDEN,
            "InputNotAllowedError",
        ),
    ],
)
def test_a_wrong_request_is_a_problem_document(
    caller: TestClient, body: object, status: HTTPStatus, code: str
) -> None:
    answer = caller.post("/v1/jobs", json=body, headers={"X-Request-Id": "mine-1"})

    assert (status, code, "mine-1", "application/problem+json") == (
        answer.status_code,
        answer.json()["code"],
        answer.json()["instance"],
        answer.headers["Content-Type"],
    )


def test_a_request_without_a_key_is_refused(caller: TestClient) -> None:
    del caller.headers["Authorization"]

    answer = caller.get("/v1/models")

    assert (HTTPStatus.UNAUTHORIZED, "Bearer") == (
        answer.status_code,
        answer.headers["WWW-Authenticate"],
    )


def test_a_job_says_that_no_worker_runs(client: Client, caller: TestClient) -> None:
    client._creator.sender.enqueue = lambda *_, **__: None  # type: ignore[method-assign]

    accepted = caller.post("/v1/jobs", json=INLINE).json()
    shown = caller.get(f"/v1/jobs/{accepted['id']}").json()

    said = "no worker of queue 'fornada' runs; start one: `fornada worker`"
    assert ("QUEUED", said, said) == (shown["state"], shown["reason"], accepted["reason"])
