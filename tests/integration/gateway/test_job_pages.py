"""Jobs in pages, and what is done to them after they were submitted."""

from http import HTTPStatus

import numpy as np
import pytest
from fastapi.testclient import TestClient

from fornada.coordination.interface import Claim
from fornada.coordination.memory import InMemoryCoordination
from gateway.auth.scopes import Scope
from producer.client import Client
from producer.listing.shards import ShardState
from producer.testing import in_memory_client

from .conftest import CallerOf

INLINE = {"model": "looks@prod", "input": {"type": "inline", "items": [[[1, 0], [0, 0]]]}}


def _submit(caller: TestClient, **options: object) -> str:
    job_id: str = caller.post("/v1/jobs", json={**INLINE, **options}).json()["id"]
    return job_id


def _ids(caller: TestClient, **query: object) -> list[str]:
    """The ids on all pages."""
    ids: list[str] = []
    while True:
        page = caller.get("/v1/jobs", params=query).json()
        ids += [job["id"] for job in page["data"]]
        if page["next_cursor"] is None:
            return ids
        query["cursor"] = page["next_cursor"]


@pytest.fixture(params=["Redis", "emptied Redis"])
def forget(request: pytest.FixtureRequest, client: Client) -> object:
    """Empties Redis, in half of the tests."""
    coordination = client._coordination
    assert isinstance(coordination, InMemoryCoordination)
    return coordination.flush if request.param == "emptied Redis" else lambda: None


def test_pages_have_each_of_the_callers_jobs_once(caller_of: CallerOf, forget: object) -> None:
    shop, bank = caller_of(owner="shop"), caller_of(Scope.JOBS_WRITE, owner="bank")
    mine = caller_of(Scope.JOBS_READ, Scope.JOBS_WRITE, owner="shop")
    ids = [_submit(mine) for _ in range(7)]
    theirs = _submit(bank)
    assert callable(forget)
    forget()

    first = mine.get("/v1/jobs", params={"limit": 3}).json()
    later = _submit(mine)
    rest = _ids(mine, limit=3, cursor=first["next_cursor"])

    assert sorted(ids) == sorted([job["id"] for job in first["data"]] + rest)
    assert set(_ids(shop, limit=2)) == {*ids, theirs, later}


def test_jobs_are_found_by_what_they_are(caller: TestClient) -> None:
    tagged = _submit(caller, tags={"team": "a:b=c"})
    cancelled = _submit(caller)
    by = {
        "tag": {"tag": "team:a:b=c"},
        "other tag": {"tag": "team=x"},
        "model": {"model": "looks:1"},
        "other model": {"model": "looks:2"},
        "state": {"state": "SUCCEEDED"},
        "other state": {"state": "CANCELLED"},
        "queue": {"queue": "fornada"},
        "other queue": {"queue": "gpu"},
    }

    found = {what: set(_ids(caller, **query)) for what, query in by.items()}

    both = {tagged, cancelled}
    assert found == {
        "tag": {tagged},
        "other tag": set(),
        "model": both,
        "other model": set(),
        "state": both,
        "other state": set(),
        "queue": both,
        "other queue": set(),
    }


def test_a_job_that_cannot_be_read_is_listed(
    caller_of: CallerOf, client: Client, forget: object
) -> None:
    jobs = [Scope.JOBS_READ, Scope.JOBS_WRITE]
    caller, other, admin = caller_of(*jobs), caller_of(*jobs, owner="bank"), caller_of(Scope.ADMIN)
    of_queue = caller_of(*jobs, queues=["fornada"])
    readable, damaged = _submit(caller), _submit(caller)
    client._models.objects.put(f"jobs/{damaged}/manifest.json", b"{}")
    listed = caller.get("/v1/jobs").json()["data"]
    found = _ids(caller, state="UNREADABLE")
    assert callable(forget)
    forget()

    (document,) = admin.get("/v1/jobs", params={"state": "UNREADABLE"}).json()["data"]
    assert ("UNREADABLE", damaged, True) == (
        document["state"],
        document["id"],
        "manifest.json" in document["reason"],
    )
    assert [damaged] == found
    assert {readable, damaged} == {job["id"] for job in listed}
    # Nobody else learns of it.
    assert [] == _ids(other)
    assert [readable] == _ids(of_queue) == _ids(caller, model="looks")


@pytest.mark.parametrize(
    "query",
    [{"cursor": "?"}, {"cursor": "MS5h.."}, {"limit": 201}, {"colour": "red"}, {"tag": "x"}],
)
def test_a_wrong_query_is_refused(caller: TestClient, query: dict[str, object]) -> None:
    answer = caller.get("/v1/jobs", params=query)

    assert answer.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}


def test_an_ended_job_is_deleted_with_all_of_it(caller: TestClient, client: Client) -> None:
    job_id = _submit(caller, tags={"n": "1"})

    deleted = caller.delete(f"/v1/jobs/{job_id}")

    assert (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND, []) == (
        deleted.status_code,
        caller.get(f"/v1/jobs/{job_id}").status_code,
        _ids(caller),
    )
    assert [] == [info.key for info in client._models.objects.list(f"jobs/{job_id}/")]


def test_a_job_is_verified_for_its_owner(caller: TestClient) -> None:
    job_id = _submit(caller)

    begun = caller.post(f"/v1/jobs/{job_id}/verify", json={"sample": 1})

    found = caller.get(begun.headers["Location"]).json()
    assert (HTTPStatus.ACCEPTED, True, 1) == (begun.status_code, found["same"], found["shards"])
    assert {job_id, found["id"]} == set(_ids(caller))


def test_what_the_state_of_a_job_forbids_is_a_conflict(caller: TestClient) -> None:
    job_id = _submit(caller)

    answers = [caller.post(f"/v1/jobs/{job_id}/{what}") for what in ("resume", "retry-failed")]

    assert [(HTTPStatus.CONFLICT, "JobStateError")] * 2 == [
        (answer.status_code, answer.json()["code"]) for answer in answers
    ]


def test_shards_are_listed_by_state_and_page(caller_of: CallerOf, client: Client) -> None:
    items = np.zeros((5, 2, 2), np.uint8)
    job = client.submit(items, model="looks", items_per_shard=2)
    admin, path = caller_of(Scope.ADMIN), f"/v1/jobs/{job.id}/shards"

    first = admin.get(path, params={"limit": 2, "state": "ok"}).json()
    rest = admin.get(path, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    dead = admin.get(path, params={"state": "dead"}).json()

    assert [(0, 0, 2, 1), (1, 2, 2, 1), (2, 4, 1, 1)] == [
        (shard["shard"], shard["first_item"], shard["items"], shard["attempts"])
        for shard in first["data"] + rest["data"]
    ]
    assert (None, {"data": [], "next_cursor": None}) == (rest["next_cursor"], dead)


def test_a_shard_that_is_tried_again_says_why() -> None:
    client = in_memory_client(
        model="looks", item_shape=[2, 2], classes=["a", "b"], run_at_once=False
    )
    coordination = client._coordination
    job = client.submit(np.zeros((2, 2, 2), np.uint8), model="looks", items_per_shard=1)
    claim = Claim(job.id, 1, "first")
    coordination.begin([claim], lease_s=30)
    coordination.note_failure(claim, "the store was away")

    assert {1: "the store was away"} == client.last_errors(job.id, [0, 1])
    assert [ShardState.QUEUED] * 2 == [*job.shard_states().values()]
