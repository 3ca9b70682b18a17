"""The page that describes the API."""

import re

from fastapi import FastAPI
from fastapi.testclient import TestClient

from .conftest import VisitorOf


def test_the_page_has_every_endpoint_and_every_link_in_it_leads_somewhere(
    app: FastAPI, browser: TestClient
) -> None:
    page = browser.get("/docs")

    described = app.openapi()
    names = {each["operationId"] for path in described["paths"].values() for each in path.values()}
    names |= set(described["components"]["schemas"])
    ids = re.findall(r'id="(\w+)"', page.text)
    assert (200, names) == (page.status_code, names & set(ids))
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#(\w+)"', page.text)) <= set(ids)
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    # Nothing comes from elsewhere.
    assert [] == re.findall(r'(?:src|href)="(?!/|#)[^"]*"', page.text)


def test_the_page_says_what_a_request_takes(browser: TestClient) -> None:
    page = browser.get("/docs").text

    rows = re.findall(r"<tr>(.*?)</tr>", page[page.index('id="JobRequest"') :])
    told = [re.sub(r"<[^>]+>", " ", row).split() for row in rows]
    (deadline,) = [row for row in told if row[0] == "deadline_s"][:1]
    assert "number (more than 0) or null The job ends EXPIRED after this;" in " ".join(deadline)


def test_whoever_has_logged_in_keeps_the_navigation(
    browser: TestClient, visitor_of: VisitorOf
) -> None:
    assert ("Log out" in visitor_of().get("/docs").text) is True
    assert ("Log out" in browser.get("/docs").text) is False
