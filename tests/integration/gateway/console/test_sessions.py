"""Logging in, and what other sites' pages cannot do."""

import time
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from fornada.keys.gateway import ENDED_SESSIONS_PREFIX
from fornada.settings import Settings
from gateway.auth import sessions
from gateway.auth.scopes import Scope
from gateway.auth.sessions import COOKIE, SESSION_S, Sessions
from gateway.deployment import Deployment

from .conftest import VisitorOf, form_token_in, log_in


def test_a_page_asks_for_a_key_and_then_shows_itself(
    browser: TestClient, key_of: Callable[..., str]
) -> None:
    asked = browser.get("/?state=FAILED")
    log_in(browser, key_of())

    assert (303, "/login?next=%2F%3Fstate%3DFAILED", 200) == (
        asked.status_code,
        asked.headers["Location"],
        browser.get("/?state=FAILED").status_code,
    )


def test_the_cookie_is_no_key_and_no_script_reads_it(
    browser: TestClient, key_of: Callable[..., str]
) -> None:
    key = key_of()
    token = form_token_in(browser.get("/login").text)

    cookie = browser.post("/login", data={"api_key": key, "form_token": token}).headers[
        "Set-Cookie"
    ]

    assert key.split("_", 2)[2] not in cookie
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split(",")[0].split("; "))


def test_behind_tls_the_cookie_is_sent_over_tls_alone(
    browser: TestClient, key_of: Callable[..., str]
) -> None:
    form = {"api_key": key_of(), "form_token": form_token_in(browser.get("/login").text)}

    answer = browser.post("/login", data=form, headers={"Origin": "https://127.0.0.1"})

    assert "; Secure" in answer.headers["Set-Cookie"].split("fornada_login")[0]


@pytest.mark.parametrize("key", ["", "fornada_000000000000_" + "a" * 43, "<script>"])
def test_a_wrong_key_begins_no_session(browser: TestClient, key: str) -> None:
    token = form_token_in(browser.get("/login").text)

    answer = browser.post("/login", data={"api_key": key, "form_token": token})

    assert (401, True) == (answer.status_code, "unknown or revoked" in answer.text)
    assert 303 == browser.get("/").status_code


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_a_form_of_another_site_does_nothing(visitor: TestClient, path: str) -> None:
    answers = [visitor.post(path, data=form) for form in ({}, {"form_token": "0" * 64})]

    assert [403, 403] == [answer.status_code for answer in answers]
    assert 200 == visitor.get("/").status_code


def test_a_session_ends_with_its_key(
    browser: TestClient, deployment: Deployment, key_of: Callable[..., str]
) -> None:
    key = key_of()
    log_in(browser, key)

    deployment.identity.api_keys.revoke(key.split("_")[1])

    assert 303 == browser.get("/").status_code


def test_a_changed_session_is_none(visitor: TestClient) -> None:
    name, token = next(iter(visitor.cookies.items()))
    key_id, until, rest = token.split(".", 2)
    later = f"{key_id}.{int(until) + 1}.{rest}"
    visitor.cookies.clear()
    visitor.cookies.set(name, later)

    assert 303 == visitor.get("/").status_code


def test_logging_out_ends_the_session_at_every_gateway_and_no_other_one(
    visitor_of: VisitorOf, deployment: Deployment
) -> None:
    visitor, other = visitor_of(), visitor_of()
    elsewhere = Sessions(
        settings=Settings(), objects=deployment.objects, identity=deployment.identity
    )
    cookie = visitor.cookies[COOKIE]

    visitor.post("/logout", data={"form_token": form_token_in(visitor.get("/").text)})
    assert COOKIE not in visitor.cookies
    # Whoever has kept it has nothing.
    visitor.cookies.set(COOKIE, cookie)

    assert (303, 401) == (visitor.get("/").status_code, visitor.get("/v1/jobs").status_code)
    assert elsewhere.principal_of(cookie) is None
    assert 200 == other.get("/").status_code


def test_ended_sessions_are_kept_until_they_would_have_ended(
    visitor: TestClient, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.sessions.end(visitor.cookies[COOKIE])
    before = {info.key for info in deployment.objects.list(ENDED_SESSIONS_PREFIX)}
    later = time.time() + SESSION_S + 60
    monkeypatch.setattr(sessions.time, "time", lambda: later)

    _, key = deployment.identity.api_keys.create("shop", scopes=[Scope.PREDICT])
    deployment.sessions.end(deployment.sessions.begin(key))

    after = {info.key for info in deployment.objects.list(ENDED_SESSIONS_PREFIX)}
    assert (0, 1) == (len(before & after), len(after))


@pytest.mark.parametrize(
    "next_path", ["https://evil.example/", "//evil.example", "/\\evil.example", "/%0d%0aX: 1"]
)
def test_logging_in_leads_nowhere_else(
    browser: TestClient, key_of: Callable[..., str], next_path: str
) -> None:
    token = form_token_in(browser.get("/login").text)
    form = {"api_key": key_of(), "form_token": token, "next": next_path}

    location = browser.post("/login", data=form).headers["Location"]

    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))


def test_every_answer_has_the_headers_that_keep_others_out(visitor: TestClient) -> None:
    for path in ("/", "/nothing", "/static/console.css", "/login"):
        headers = visitor.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert ("nosniff", "same-origin") == (
            headers["X-Content-Type-Options"],
            headers["Referrer-Policy"],
        )


def test_an_unknown_address_is_a_page_for_people_and_a_problem_for_callers(
    visitor: TestClient,
) -> None:
    page, problem = visitor.get("/nothing"), visitor.get("/v1/nothing")

    assert (404, True, 404, "application/problem+json") == (
        page.status_code,
        "<h1>Not found</h1>" in page.text,
        problem.status_code,
        problem.headers["Content-Type"],
    )


def test_a_key_without_the_scope_is_told_so(visitor_of: VisitorOf) -> None:
    answer = visitor_of(Scope.PREDICT).get("/")

    assert (403, True) == (answer.status_code, "jobs:read" in answer.text)
