"""The console in front of a staged deployment."""

import re
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fornada.settings import Settings
from gateway.app import create_app
from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.rates import Rates
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment

from .stage import Stage, publish_models, submit_jobs

#: A browser that has logged in with a new key of these scopes.
VisitorOf = Callable[..., TestClient]

_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


@pytest.fixture(scope="session")
def stage() -> Stage:
    """The deployment, without jobs."""
    stage = Stage()
    publish_models(stage)
    return stage


@pytest.fixture(scope="session")
def jobs(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The ids of jobs in all states, by what they show."""
    return submit_jobs(stage, tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def deployment(stage: Stage) -> Deployment:
    """The deployment as the gateway sees it."""
    identity = Identity(api_keys=ApiKeys(objects=stage.objects), rates=Rates.in_memory())
    return Deployment.of(Settings(), objects=stage.objects, client=stage.client, identity=identity)


@pytest.fixture(scope="session")
def app(deployment: Deployment) -> FastAPI:
    """The gateway."""
    return create_app(deployment)


@pytest.fixture
def key_of(deployment: Deployment) -> Callable[..., str]:
    """Makes API keys."""

    def of(*scopes: Scope, owner: str = "shop") -> str:
        return deployment.identity.api_keys.create(owner, scopes=scopes or list(Scope))[1]

    return of


@pytest.fixture
def browser(app: FastAPI) -> TestClient:
    """A browser that has not logged in."""
    return TestClient(
        app,
        base_url="http://127.0.0.1",
        raise_server_exceptions=False,
        follow_redirects=False,
    )


@pytest.fixture
def visitor_of(app: FastAPI, key_of: Callable[..., str]) -> VisitorOf:
    """Makes browsers of people who have logged in."""

    def of(*scopes: Scope, owner: str = "shop") -> TestClient:
        browser = TestClient(
            app,
            base_url="http://127.0.0.1",
            raise_server_exceptions=False,
            follow_redirects=False,
        )
        log_in(browser, key_of(*scopes, owner=owner))
        return browser

    return of


@pytest.fixture
def visitor(visitor_of: VisitorOf) -> TestClient:
    """Someone who may do all but see the jobs of others."""
    return visitor_of(*(scope for scope in Scope if scope is not Scope.ADMIN))


def log_in(browser: TestClient, key: str) -> None:
    """Log in as people do."""
    form = {"api_key": key, "form_token": form_token_in(browser.get("/login").text)}
    assert 303 == browser.post("/login", data=form).status_code


def form_token_in(page: str) -> str:
    """The token that the forms of a page carry."""
    found = _TOKEN.search(page)
    assert found, page
    return found[1]
