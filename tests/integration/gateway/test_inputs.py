"""Items in forms, in uploads and in the store."""

import asyncio
import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http import HTTPStatus

import httpx2
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fornada.storage.memory import InMemoryObjectStore
from gateway.api.submitting.form_submission import FormSlots
from gateway.auth.scopes import Scope
from producer.client import Client

from .conftest import CLASSES, CallerOf

IMAGES = {f"{n}.png": n for n in (2, 0, 1, 1)}


def _png(level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((2, 2), level, np.uint8)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def objects(client: Client) -> InMemoryObjectStore:
    """The store."""
    objects = client._models.objects
    assert isinstance(objects, InMemoryObjectStore)
    return objects


def _labels(caller: TestClient, accepted: httpx2.Response) -> dict[str, str]:
    """Item id -> label, or why there is none."""
    assert HTTPStatus.ACCEPTED == accepted.status_code, accepted.text
    answer = caller.get(f"{accepted.headers['Location']}/results", params={"partial": True})
    rows = [json.loads(line) for line in answer.text.splitlines()]
    return {row["item_id"]: row["label"] or row["error"] for row in rows}


def _form(caller: TestClient, *files: tuple[str, bytes], **options: object) -> httpx2.Response:
    request = (None, json.dumps({"model": "looks", **options}))
    return caller.post(
        "/v1/jobs", files=[("request", request), *(("file", file) for file in files)]
    )


def test_images_of_a_form_are_items_by_their_names(caller: TestClient) -> None:
    accepted = _form(caller, *((name, _png(level)) for name, level in IMAGES.items()))

    assert {name: CLASSES[level] for name, level in IMAGES.items()} == _labels(caller, accepted)


@pytest.mark.parametrize(
    "shape",
    [
        lambda photos: photos,
        lambda photos: {"inputs": photos},
        lambda photos: [{"inputs": photo} for photo in photos],
    ],
    ids=["items", "of an input", "rows"],
)
def test_images_as_base64_are_items_of_a_job_as_of_a_prediction(
    caller: TestClient, shape: Callable[[list[dict[str, str]]], object]
) -> None:
    photos = [{"b64": base64.b64encode(_png(level)).decode()} for level in (2, 0, 1)]
    ids = ["c", "a", "b"]

    predicted = caller.post("/v1/models/looks/predict", json={"items": shape(photos)})
    accepted = caller.post(
        "/v1/jobs",
        json={
            "model": "looks",
            "input": {"type": "inline", "items": shape(photos), "item_ids": ids},
        },
    )

    assert HTTPStatus.OK == predicted.status_code, predicted.text
    assert dict(zip(ids, ["bag", "shirt", "shoe"], strict=True)) == _labels(caller, accepted)


def test_what_is_not_base64_is_refused_by_a_job(caller: TestClient) -> None:
    given = {"type": "inline", "items": [{"b64": "?"}]}

    answer = caller.post("/v1/jobs", json={"model": "looks", "input": given})

    assert HTTPStatus.UNPROCESSABLE_ENTITY == answer.status_code
    assert "items[0] is not base64" in answer.json()["detail"]


def test_what_failed_is_run_again_for_its_owner(caller: TestClient) -> None:
    accepted = _form(caller, ("good.png", _png(1)), ("bad.png", b"\x89PNG of no kind"))
    path = accepted.headers["Location"]

    again = caller.post(f"{path}/retry-failed")
    twice = caller.post(f"{path}/retry-failed")

    assert (HTTPStatus.ACCEPTED, 1) == (again.status_code, again.json()["counts"]["total"])
    assert again.json()["id"] == twice.json()["id"]
    assert [again.json()["id"], accepted.json()["id"]] == [
        job["id"] for job in caller.get("/v1/jobs").json()["data"]
    ]
    errors = [json.loads(line) for line in caller.get(f"{path}/errors").text.splitlines()]
    assert [(1, "bad.png")] == [(error["item"], error["item_id"]) for error in errors]


def test_an_array_in_a_form_is_its_items(caller: TestClient) -> None:
    file = io.BytesIO()
    np.save(file, np.arange(3, dtype=np.uint8).repeat(4).reshape(3, 2, 2))

    accepted = _form(caller, ("items.npy", file.getvalue()))

    assert CLASSES == [*_labels(caller, accepted).values()]


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ([], "FormError"),
        ([("a.png", _png(0)), ("a.png", _png(1))], "DuplicateIdError"),
        ([("a.png", _png(0)), ("b.npy", b"")], "FormError"),
        ([("", _png(0))], "FormError"),
        ([("a.csv", b"x")], "InputError"),
        ([("a/.", b"x")], "InputError"),
        ([("..", b"x")], "InputError"),
        ([(f"{'a' * 300}.npy", b"x")], "InputError"),
        ([("a.npy", b"x"), ("b/a.npy", b"x")], "InputError"),
    ],
)
def test_a_form_without_such_items_makes_no_job(
    caller: TestClient, files: list[tuple[str, bytes]], code: str
) -> None:
    answer = _form(caller, *files)

    assert code == answer.json()["code"], answer.text
    assert [] == caller.get("/v1/jobs").json()["data"]


def test_a_form_has_a_thousand_files_that_wait_on_the_disk(caller: TestClient) -> None:
    answer = _form(caller, *[(f"{n}.npy", b"x") for n in range(1001)])

    assert HTTPStatus.UNPROCESSABLE_ENTITY == answer.status_code
    assert "more than 1000 files that are not images" in answer.json()["detail"]


def test_a_form_that_breaks_off_makes_no_job(caller: TestClient) -> None:
    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n{"model": "looks"}\r\n'
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        yield _png(0)

    answer = caller.post(
        "/v1/jobs", content=body(), headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert (HTTPStatus.BAD_REQUEST, "FormError") == (answer.status_code, answer.json()["code"])
    assert [] == caller.get("/v1/jobs").json()["data"]


def test_the_forms_of_one_owner_do_not_hold_up_those_of_others() -> None:
    async def read_form(slots: FormSlots, owner: str) -> None:
        async with slots.one(owner):
            pass

    async def read_forms() -> None:
        slots = FormSlots(most=2, most_of_one=1)
        async with slots.one("shop"):
            second = asyncio.create_task(read_form(slots, "shop"))
            await read_form(slots, "bank")
            assert not second.done()
        await second

    asyncio.run(read_forms())


def test_a_table_in_a_form_reads_no_file_of_the_gateway(
    caller: TestClient, tmp_path: object
) -> None:
    own = f"{tmp_path}/own.png"
    with open(own, "wb") as file:  # noqa: PTH123 - as text
        file.write(_png(1))
    table = f"inputs\n{own}\ns3://fornada/gateway/keys/x.json\n".encode()

    labels = _labels(caller, _form(caller, ("list.csv", table)))

    assert all("path" in why or "may not read" in why for why in labels.values()), labels


def test_an_upload_is_read_where_it_was_put(
    caller: TestClient, objects: InMemoryObjectStore
) -> None:
    items = [{"id": name, "bytes": len(_png(level))} for name, level in IMAGES.items()]
    upload = caller.post("/v1/uploads", json={"items": items}).json()
    body = {"model": "looks", "input": {"type": "upload", "id": upload["id"]}}
    early = caller.post("/v1/jobs", json=body)
    for part in upload["parts"]:
        objects.put(part["url"].removeprefix("memory:///"), _png(IMAGES[part["id"]]))

    accepted = caller.post("/v1/jobs", json=body)

    assert {name: CLASSES[level] for name, level in IMAGES.items()} == _labels(caller, accepted)
    assert (HTTPStatus.UNPROCESSABLE_ENTITY, True) == (
        early.status_code,
        "was not put there" in early.json()["detail"],
    )
    job_id = accepted.json()["id"]
    assert [] == [info.key for info in objects.list(f"jobs/{job_id}/input/")]
    caller.delete(f"/v1/jobs/{job_id}")
    assert [] == [info.key for info in objects.list("gateway/uploads/")]


def test_an_upload_is_its_owners_alone(caller_of: CallerOf) -> None:
    shop = caller_of(Scope.JOBS_WRITE, owner="shop")
    upload = shop.post("/v1/uploads", json={"items": [{"id": "a.png"}]}).json()

    body = {"model": "looks", "input": {"type": "upload", "id": upload["id"]}}
    answer = caller_of(Scope.JOBS_WRITE, owner="bank").post("/v1/jobs", json=body)

    assert HTTPStatus.NOT_FOUND == answer.status_code


def test_ids_of_an_upload_differ(caller: TestClient) -> None:
    answer = caller.post("/v1/uploads", json={"items": [{"id": "a"}, {"id": "b"}, {"id": "a"}]})

    assert (HTTPStatus.UNPROCESSABLE_ENTITY, ["body.input.items.2"]) == (
        answer.status_code,
        [error["where"] for error in answer.json()["errors"]],
    )


@pytest.fixture
def stored(objects: InMemoryObjectStore) -> dict[str, str]:
    """Addresses of a table and of lists of images in the deployment's own bucket."""
    table = io.BytesIO()
    cells = [[[0, 0], [0, 0]], [[2, 0], [0, 0]]]
    pa.parquet.write_table(pa.table({"id": ["a", "b"], "inputs": cells}), table)
    files = {
        "inputs/rows/1.parquet": table.getvalue(),
        "inputs/images/a.png": _png(0),
        "inputs/images/b.png": _png(2),
        "inputs/sagemaker.manifest": json.dumps(
            [{"prefix": "s3://fornada/inputs/images/"}, "a.png", "b.png"]
        ).encode(),
        "inputs/augmented.manifest": b'{"source-ref": "s3://fornada/inputs/images/b.png"}\n'
        b'{"source-ref": "s3://fornada/secret/a.png"}\n',
    }
    for key, data in files.items():
        objects.put(key, data, bucket="fornada")
    return {key.rpartition("/")[2]: f"s3://fornada/{key}" for key in files}


def test_rows_and_lists_in_the_store_are_items(caller_of: CallerOf, stored: dict[str, str]) -> None:
    caller = caller_of(Scope.ADMIN)
    given = {
        "parquet": {"type": "parquet", "uri": stored["1.parquet"]},
        "manifest": {"type": "manifest", "uri": stored["sagemaker.manifest"]},
        "augmented": {"type": "manifest", "uri": stored["augmented.manifest"]},
        "s3": {"type": "s3", "uri": "s3://fornada/inputs/images/"},
    }
    ids = {"parquet": {"id_column": "id"}}

    found = {
        name: [
            *_labels(
                caller,
                caller.post(
                    "/v1/jobs", json={"model": "looks", "input": source, **ids.get(name, {})}
                ),
            ).values()
        ]
        for name, source in given.items()
    }

    assert "may not read" in found["augmented"].pop()
    assert {"parquet": 2, "manifest": 2, "augmented": 1, "s3": 2} == {
        name: len(labels) for name, labels in found.items()
    }
    assert ["bag"] == found["augmented"]
    assert all(["shirt", "bag"] == found[name] for name in ("parquet", "manifest", "s3"))


def test_the_items_of_a_list_are_called_by_their_addresses(
    caller_of: CallerOf, objects: InMemoryObjectStore, stored: dict[str, str]
) -> None:
    caller = caller_of(Scope.ADMIN)
    folder = "s3://fornada/inputs/images/"

    def accepted(*names: str) -> httpx2.Response:
        listed = json.dumps([{"prefix": folder}, *names]).encode()
        objects.put("inputs/sagemaker.manifest", listed, bucket="fornada")
        source = {"type": "manifest", "uri": stored["sagemaker.manifest"]}
        return caller.post("/v1/jobs", json={"model": "looks", "input": source})

    job = accepted("a.png", "gone.png")
    twice = accepted("a.png", "a.png")

    path = job.headers["Location"]
    (failed,) = (json.loads(line) for line in caller.get(f"{path}/errors").text.splitlines())
    assert f"{folder}gone.png" == failed["item_id"]
    assert failed["reason"].startswith(f"{folder}gone.png cannot be read: ")
    assert objects.endpoint not in failed["reason"]
    assert {f"{folder}a.png": "shirt", failed["item_id"]: failed["reason"]} == _labels(caller, job)
    assert {"0", "1"} == set(_labels(caller, twice))


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("POST", "/v1/jobs", {"content": b"x" * 70_000}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        ("POST", "/v1/jobs", {"data": {"a": "b"}}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        ("POST", "/v1/uploads", {"data": {"a": "b"}}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        ("POST", "/v1/uploads", {"json": {"items": []}}, HTTPStatus.UNPROCESSABLE_ENTITY),
        (
            "POST",
            "/v1/uploads",
            {"json": {"items": [{"id": str(n)} for n in range(1001)]}},
            HTTPStatus.UNPROCESSABLE_ENTITY,
        ),
    ],
)
def test_what_an_endpoint_does_not_take_is_refused(
    caller: TestClient, method: str, path: str, sent: dict[str, object], status: HTTPStatus
) -> None:
    headers = {"Content-Type": "application/json"} if "content" in sent else {}

    answer = caller.request(method, path, headers=headers, **sent)

    assert status == answer.status_code
    assert "application/problem+json" == answer.headers["Content-Type"]


def test_an_upload_that_no_job_reads_is_purged(
    caller: TestClient, client: Client, objects: InMemoryObjectStore
) -> None:
    read, unread = (
        caller.post("/v1/uploads", json={"items": [{"id": "a.png"}]}).json() for _ in range(2)
    )
    for upload in (read, unread):
        objects.put(upload["parts"][0]["url"].removeprefix("memory:///"), _png(1))
    body = {"model": "looks", "input": {"type": "upload", "id": read["id"]}}
    accepted = caller.post("/v1/jobs", json=body)
    young = client.purge(timedelta(days=30))

    objects._clock = lambda: time.time() + timedelta(days=3).total_seconds()
    client.purge(timedelta(days=2, hours=23))

    left = {info.key.split("/")[3] for info in objects.list("gateway/uploads/")}
    assert ([], {read["id"]}) == (young, left) or accepted.json()["id"] not in young
    assert unread["id"] not in left
