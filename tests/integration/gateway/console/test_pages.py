"""What pages show, to whom, and what their forms do."""

import io
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fornada.storage.interface import StoredObject
from fornada.storage.memory import InMemoryObjectStore
from gateway.auth.scopes import Scope

from .conftest import VisitorOf, form_token_in
from .stage import HOSTILE, Stage, submit_hostile_job


class _Elements(HTMLParser):
    """The elements of a page, and what they have."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_list_shows_the_jobs_of_one_owner_alone(
    visitor: TestClient, visitor_of: VisitorOf, jobs: dict[str, str]
) -> None:
    mine, all_of_them = visitor.get("/").text, visitor_of(Scope.ADMIN, owner="root").get("/").text

    assert (True, False) == (jobs["done"] in mine, jobs["table"] in mine)
    assert jobs["table"] in all_of_them


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("state=CANCELLED", {"cancelled"}),
        ("model=digits:1", {"cancelled", "queued"}),
        ("model=digits@prod&state=SUCCEEDED", {"done"}),
        ("model=digits&state=SUCCEEDED", {"done"}),
        ("tag=team%3Dsearch", {"running"}),
        ("tag=team%3Dnobody", set()),
    ],
)
def test_the_address_has_the_filters(
    visitor: TestClient, jobs: dict[str, str], query: str, shown: set[str]
) -> None:
    page = visitor.get(f"/?{query}").text

    assert shown == {name for name, job_id in jobs.items() if f'id="row-{job_id}"' in page}


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/items",
        "/items/0",
        "/items/0/picture",
        "/shards/map",
        "/shards/outcomes",
        "/shards/0",
        "/drift",
        "/cancel",
        "/verify",
    ],
)
def test_another_owner_finds_nothing_of_a_job(
    visitor: TestClient, jobs: dict[str, str], path: str
) -> None:
    there = visitor.get(f"/jobs/{jobs['table']}{path}")

    assert (404, False) == (there.status_code, "houses" in there.text)


def test_another_owner_changes_nothing_of_a_job(
    visitor: TestClient, stage: Stage, jobs: dict[str, str]
) -> None:
    token = form_token_in(visitor.get("/").text)

    answers = [
        visitor.post(f"/jobs/{jobs['table']}/{what}", data={"form_token": token})
        for what in ("cancel", "retry-failed", "verify")
    ]

    assert [404, 404, 404] == [answer.status_code for answer in answers]
    assert stage.jobs.final(f"{jobs['table']}-retry") is None


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_a_form_without_the_sessions_token_changes_nothing(
    visitor: TestClient, stage: Stage, jobs: dict[str, str], token: str
) -> None:
    form = {"form_token": token, "version": "1", "alias": "prod", "model": "houses:1", "text": "1"}
    paths = [
        *(f"/jobs/{jobs['queued']}/{what}" for what in ("cancel", "retry-failed", "verify")),
        "/models/digits/promote",
        "/models/digits/roll-back",
    ]

    answers = [visitor.post(path, data=form) for path in paths]
    answers.append(visitor.post("/try", data=form, files={"files": ("", b"")}))

    assert [403] * 6 == [answer.status_code for answer in answers]
    assert (2, None) == (stage.models.aliases("digits")["prod"], stage.jobs.final(jobs["queued"]))


def test_texts_of_others_are_texts(stage: Stage, visitor_of: VisitorOf) -> None:
    visitor, job_id = visitor_of(), submit_hostile_job(stage)
    paths = [
        "/",
        f"/jobs/{job_id}",
        "/workers",
        "/try?model=hostile:1",
        f"/try?model={quote(HOSTILE)}",
    ]
    paths += [f"/jobs/{job_id}/{part}" for part in ("items", "items/0", "items/1", "shards/0")]
    paths += [
        "/try?model=hostile:1",
        "/models",
        "/models/hostile",
        "/models/hostile/1",
        f"/?tag={quote(HOSTILE)}",
    ]

    for path in paths:
        page = visitor.get(path).text
        elements = _Elements(page).found
        scripts = [attrs for tag, attrs in elements if tag == "script"]
        handlers = [n for _, attrs in elements for n in attrs if n.startswith("on")]
        styles = [attrs for tag, attrs in elements if tag == "style" or "style" in attrs]
        assert [{"type": "module", "src": "/static/console.js"}] == scripts, path
        assert ([], []) == (handlers, styles), path
        assert ("\u202e" not in page, "\x1b" not in page) == (True, True), path


def test_a_job_shows_what_the_api_says(visitor: TestClient, jobs: dict[str, str]) -> None:
    said = visitor.get(f"/v1/jobs/{jobs['photos']}").json()

    page = visitor.get(f"/jobs/{jobs['photos']}").text
    failed = visitor.get(f"/jobs/{jobs['photos']}/items?order=failed").text

    for shown in ("Partial", said["model"]["sha256"], said["reason"]):
        assert shown in page.replace("&#39;", "'")
    assert said["counts"]["failed"] == failed.count('<p class="reason">')
    assert "broken/bomb.png is 50000x50000 pixels" in failed


def test_drift_is_told_from_the_models_test_items_or_another_job(
    visitor: TestClient, jobs: dict[str, str]
) -> None:
    path = f"/jobs/{jobs['done']}/drift"

    linked = visitor.get(f"/jobs/{jobs['done']}").text
    alone, other = (
        visitor.get(path + query).text for query in ("", f"?against={jobs['cancelled']}")
    )
    foreign = visitor.get(f"{path}?against={jobs['table']}").text
    unknown = visitor.get(f"/jobs/{jobs['photos']}/drift")
    still_open = visitor.get(f"/jobs/{jobs['running']}/drift").text

    assert f'href="{path}"' in linked
    assert "Stable" in alone
    assert "beside the test items of digits:2" in alone
    assert f"beside job {jobs['cancelled']}" in other
    assert 'class="state large failed">Large' in other
    assert "houses" not in foreign
    assert "has no job" in foreign
    assert (200, True) == (unknown.status_code, "was published without test items" in unknown.text)
    assert "has not ended" in still_open


def test_classes_stand_beside_those_of_the_training_set(
    visitor: TestClient, jobs: dict[str, str]
) -> None:
    known = visitor.get(f"/jobs/{jobs['done']}").text
    unknown = visitor.get(f"/jobs/{jobs['photos']}").text

    assert (10, 0) == (known.count("<b>10.0%</b></span></td></tr>"), unknown.count("In training"))


def test_a_job_that_waits_says_why(visitor: TestClient, jobs: dict[str, str]) -> None:
    page = visitor.get(f"/jobs/{jobs['queued']}").text

    assert "no worker takes it; worker-2:4711: model digits:1 is not signed" in page


def test_workers_show_what_they_have_in_hand(visitor: TestClient, jobs: dict[str, str]) -> None:
    page = visitor.get("/workers").text

    for shown in ("worker-1:4711", "keras 3.15.1", "cells:1", "3,128 items/s together"):
        assert shown in page
    assert re.search(r'id="queue-fornada".*data-label="Running">6<', page)


def test_the_map_has_a_letter_for_each_shard(visitor: TestClient, jobs: dict[str, str]) -> None:
    running = visitor.get(f"/jobs/{jobs['running']}/shards/map").json()
    cancelled = visitor.get(f"/jobs/{jobs['cancelled']}/shards/map").json()

    letters = {letter: int(n or 1) for letter, n in re.findall(r"([a-z])(\d*)", running["states"])}
    assert (running["shards"], False) == (sum(letters.values()), running["ended"])
    assert ({"d", "r", "q"}, 6) == (set(letters), letters["r"])
    assert (True, {"d", "n"}) == (cancelled["ended"], set(re.findall("[a-z]", cancelled["states"])))


def test_the_least_certain_items_come_first(
    visitor: TestClient, stage: Stage, jobs: dict[str, str]
) -> None:
    scores = stage.client.job(jobs["done"]).results().scores

    page = visitor.get(f"/jobs/{jobs['done']}/items").text

    shown = [int(n) for n in re.findall(r'<figcaption>.*?/items/(\d+)"', page, re.DOTALL)]
    assert np.argsort(scores, kind="stable")[: len(shown)].tolist() == shown


def test_a_picture_is_written_anew(visitor: TestClient, jobs: dict[str, str]) -> None:
    page = visitor.get(f"/jobs/{jobs['photos']}/items?order=submitted&skip=24").text
    item = re.search(r'/items/(\d+)">modes/P transparent.png', page)
    assert item

    answer = visitor.get(f"/jobs/{jobs['photos']}/items/{item[1]}/picture?draw=mask")

    picture = Image.open(io.BytesIO(answer.content))
    assert ("image/webp", "WEBP", "RGB") == (
        answer.headers["Content-Type"],
        picture.format,
        picture.mode,
    )


def test_a_broken_picture_says_why_it_is_none(visitor: TestClient, jobs: dict[str, str]) -> None:
    answers = [visitor.get(f"/jobs/{jobs['photos']}/items/{n}/picture") for n in (0, 1)]

    assert [404, 404] == [answer.status_code for answer in answers]
    assert "50000x50000 pixels" in answers[0].text
    assert "is an empty file" in answers[1].text


def test_one_item_of_an_array_is_read_without_the_others(
    visitor: TestClient, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.arange(4000 * 784).astype(np.uint8).reshape(4000, 28, 28)
    job_id = stage.submit(pixels, model="digits@shadow", items_per_shard=4000)
    read: list[int] = []
    whole, part = InMemoryObjectStore.get, InMemoryObjectStore.get_range

    def get(store: InMemoryObjectStore, key: str, **options: Any) -> StoredObject:
        found = whole(store, key, **options)
        read.append(len(found.data))
        return found

    def get_range(store: InMemoryObjectStore, key: str, **options: Any) -> StoredObject:
        before = list(read)
        found = part(store, key, **options)
        # It reads the whole by itself.
        read[:] = [*before, len(found.data)]
        return found

    monkeypatch.setattr(InMemoryObjectStore, "get", get)
    monkeypatch.setattr(InMemoryObjectStore, "get_range", get_range)
    answer = visitor.get(f"/jobs/{job_id}/items/3999/picture")

    shown = np.asarray(Image.open(io.BytesIO(answer.content)))[..., 0]
    assert pixels[3999].tolist() == shown.tolist()
    assert sum(read) < pixels.nbytes // 100


def test_a_row_shows_its_values_and_why_it_failed(
    visitor_of: VisitorOf, jobs: dict[str, str]
) -> None:
    page = visitor_of(owner="estate").get(f"/jobs/{jobs['table']}/items/2").text

    for shown in ("elm-street-3", "NaN or infinity among its values", "1999"):
        assert shown in page


def test_a_job_is_cancelled_once_that_is_confirmed(visitor: TestClient, stage: Stage) -> None:
    stage.on_hold.add("reviews")
    job_id = stage.submit(["a", "b"], model="reviews@prod")
    stage.on_hold.discard("reviews")

    asked = visitor.get(f"/jobs/{job_id}/cancel")
    before = stage.client.job(job_id).status().state
    visitor.post(f"/jobs/{job_id}/cancel", data={"form_token": form_token_in(asked.text)})

    assert ("QUEUED", True) == (before, "Cancelled" in visitor.get(f"/jobs/{job_id}").text)
    assert "cancelled by shop" == stage.client.job(job_id).status().reason


def test_failed_items_are_retried_and_a_job_is_verified(
    visitor: TestClient, jobs: dict[str, str]
) -> None:
    path = f"/jobs/{jobs['photos']}"
    token = form_token_in(visitor.get(f"{path}/verify").text)

    retried = visitor.post(f"{path}/retry-failed", data={"form_token": token})
    verified = visitor.post(f"{path}/verify", data={"form_token": token, "sample": "2"})

    assert f"{path}-retry" == retried.headers["Location"]
    found = visitor.get(verified.headers["Location"]).text
    assert re.search(r"items in 2 shards are the same, to the byte", found)


def test_a_version_is_promoted_if_it_passes_its_gates_and_rolled_back(
    visitor: TestClient, stage: Stage
) -> None:
    token = form_token_in(visitor.get("/models/digits/promote?version=1").text)
    form = {"form_token": token, "version": "1", "alias": "canary"}

    missed = visitor.post("/models/digits/promote", data={**form, "gates": "test_accuracy>=0.86"})
    before = stage.models.aliases("digits").get("canary")
    visitor.post("/models/digits/promote", data={**form, "gates": "test_accuracy>=0.84"})
    visitor.post("/models/digits/promote", data={**form, "version": "2"})
    moved = stage.models.aliases("digits")["canary"]
    visitor.post("/models/digits/roll-back", data={"form_token": token, "alias": "canary"})

    assert (409, None, 2, 1) == (
        missed.status_code,
        before,
        moved,
        stage.models.aliases("digits")["canary"],
    )
    assert "test_accuracy is 0.8412 and the gate is test_accuracy&gt;=0.86" in missed.text


def test_a_report_is_shown_in_a_sandbox(visitor: TestClient) -> None:
    answer = visitor.get("/models/digits/2/report")

    policy = answer.headers["Content-Security-Policy"]
    assert (True, False) == (policy.startswith("sandbox;"), "allow-scripts" in policy)
    assert "Training report" in answer.text


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        (Scope.JOBS_WRITE, "/"),
        (Scope.JOBS_READ, "/models"),
        (Scope.JOBS_READ, "/try"),
        (Scope.MODELS_READ, "/models/digits/promote?version=1"),
    ],
)
def test_a_page_needs_its_scope(visitor_of: VisitorOf, scope: Scope, path: str) -> None:
    assert 403 == visitor_of(scope).get(path).status_code


def test_results_need_their_scope(visitor_of: VisitorOf, jobs: dict[str, str]) -> None:
    visitor = visitor_of(Scope.JOBS_READ)
    page = visitor.get(f"/jobs/{jobs['done']}")

    assert (200, False) == (page.status_code, "/items/" in page.text)
    for part in ("items", "items/0", "items/0/picture", "shards/0", "shards/outcomes"):
        assert 403 == visitor.get(f"/jobs/{jobs['done']}/{part}").status_code


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/jobs/no-such-job", 404),
        ("/jobs/..%2f..%2fetc", 404),
        ("/jobs/{done}/items/99999", 404),
        ("/jobs/{done}/items/-1", 404),
        ("/jobs/{done}/shards/99999", 404),
        ("/jobs/{done}/items/first", 422),
        ("/models/nothing", 404),
        ("/models/digits/99", 404),
        ("/models/cells/1/report", 404),
        ("/?state=HAPPY", 422),
        ("/?cursor=%FF", 400),
    ],
)
def test_a_wrong_address_is_a_page(
    visitor: TestClient, jobs: dict[str, str], path: str, status: int
) -> None:
    answer = visitor.get(path.format(**jobs))

    assert (status, True) == (answer.status_code, "<h1>" in answer.text)


def test_a_wrong_filter_is_named_without_the_types_that_were_tried(visitor: TestClient) -> None:
    answer = visitor.get("/?state=nonsense")

    assert 422 == answer.status_code
    assert (True, False) == ("state: Input should be" in answer.text, "enum[" in answer.text)
