"""Who may call the gateway, how often, and with how much open work."""

import json
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi.testclient import TestClient

from fornada.settings import Settings
from gateway.app import create_app
from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.rates import Rates
from gateway.auth.scopes import Scope
from gateway.auth.sessions import COOKIE
from gateway.auth.tokens import Tokens
from gateway.commands.api_keys import create
from gateway.deployment import Deployment
from producer.client import Client
from producer.testing import in_memory_client

from .conftest import CLASSES, CallerOf
from .test_jobs import INLINE

AUDIENCE = "fornada"


class Issuer:
    """An identity provider with one key."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwks(self) -> dict[str, Any]:
        """What it publishes."""
        public = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [public | {"kid": "1", "alg": "ES256", "use": "sig"}]}

    def token(self, *, key: object = None, **claims: object) -> str:
        """A token that is valid but for what `claims` and `key` say."""
        at = int(time.time())
        own = {"iss": self.url, "aud": AUDIENCE, "sub": "auth0|7", "exp": at + 60}
        return jwt.encode(own | claims, key or self._key, algorithm="ES256", headers={"kid": "1"})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers = {
                "/.well-known/openid-configuration": {"jwks_uri": f"{issuer.url}/keys"},
                "/keys": issuer.jwks,
            }
            body = json.dumps(answers[self.path]).encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
        Thread(target=server.serve_forever, daemon=True).start()
        yield issuer
        server.shutdown()


def test_a_token_of_the_issuer_is_a_caller(client: Client, issuer: Issuer) -> None:
    objects = client._models.objects
    identity = Identity(
        api_keys=ApiKeys(objects=objects),
        rates=Rates.in_memory(),
        tokens=Tokens(issuer=issuer.url, audience=AUDIENCE),
    )
    deployment = Deployment.of(Settings(), objects=objects, client=client, identity=identity)
    http = TestClient(create_app(deployment), base_url="http://localhost")

    def listed(token: str) -> tuple[int, str | None]:
        answer = http.get("/v1/models", headers={"Authorization": f"Bearer {token}"})
        return answer.status_code, answer.json().get("code")

    refused = (HTTPStatus.UNAUTHORIZED, "UnauthenticatedError")
    other = ec.generate_private_key(ec.SECP256R1())
    assert (HTTPStatus.OK, None) == listed(issuer.token(scope="openid models:read"))
    assert (HTTPStatus.FORBIDDEN, "ForbiddenError") == listed(issuer.token(scope="openid"))
    assert refused == listed(issuer.token(scope="admin", aud="another"))
    assert refused == listed(issuer.token(scope="admin", iss="https://elsewhere"))
    assert refused == listed(issuer.token(scope="admin", exp=int(time.time()) - 3600))
    assert refused == listed(issuer.token(scope="admin", key=other))
    assert refused == listed(jwt.encode({"sub": "x", "scope": "admin"}, "", algorithm="none"))


@pytest.mark.parametrize("scope", [None, *sorted(set(Scope) - {Scope.MODELS_READ, Scope.ADMIN})])
def test_a_key_does_what_its_scopes_say(caller_of: CallerOf, scope: Scope | None) -> None:
    scopes = [Scope.JOBS_WRITE] if scope is None else [scope]

    answer = caller_of(*scopes).get("/v1/models")

    assert (HTTPStatus.FORBIDDEN, "ForbiddenError") == (answer.status_code, answer.json()["code"])


def test_scopes_are_named_to_the_command_as_keys_have_them() -> None:
    given = [word for scope in Scope for word in ("--scope", scope.value)]

    parsed = create.make_context("create", ["shop", *given])

    assert tuple(Scope) == parsed.params["scopes"]


def test_a_key_for_which_no_scope_is_named_sees_nothing_of_other_owners() -> None:
    parsed = create.make_context("create", ["shop"])

    others = {Scope.ADMIN, Scope.MODELS_WRITE, Scope.METRICS_READ}
    assert set(Scope) - others == set(parsed.params["scopes"])


def test_a_revoked_key_ends(deployment: Deployment, caller_of: CallerOf) -> None:
    caller = caller_of(Scope.MODELS_READ)
    (key,) = deployment.identity.api_keys.all()

    deployment.identity.api_keys.revoke(key.id)

    assert HTTPStatus.UNAUTHORIZED == caller.get("/v1/models").status_code


def test_no_secret_of_a_key_is_stored(deployment: Deployment, caller_of: CallerOf) -> None:
    token = caller_of().headers["Authorization"].removeprefix("Bearer ")

    (stored,) = list(deployment.objects.list("gateway/keys/"))

    secret = token.split("_", 2)[2]
    assert secret.encode() not in deployment.objects.get(stored.key).data


def test_a_rate_is_kept(caller_of: CallerOf) -> None:
    caller = caller_of(Scope.MODELS_READ, rate="3/hour")

    answers = [caller.get("/v1/models") for _ in range(4)]

    assert [200, 200, 200, 429] == [answer.status_code for answer in answers]
    assert ("RateExceededError", "1") == (
        answers[-1].json()["code"],
        answers[-1].headers["Retry-After"],
    )


def test_a_rate_is_kept_by_those_who_logged_in_too(
    deployment: Deployment, caller_of: CallerOf
) -> None:
    caller = caller_of(Scope.MODELS_READ, rate="3/hour")
    token = caller.headers.pop("Authorization").removeprefix("Bearer ")
    caller.cookies.set(COOKIE, deployment.sessions.begin(token))

    answers = [caller.get("/v1/models") for _ in range(4)]

    assert 429 == answers[-1].status_code


def test_a_key_makes_jobs_for_its_queues_alone(caller_of: CallerOf) -> None:
    refused = caller_of(Scope.JOBS_WRITE, queues=["other"]).post("/v1/jobs", json=INLINE)
    taken = caller_of(Scope.JOBS_WRITE, queues=["other", Settings().queue]).post(
        "/v1/jobs", json=INLINE
    )

    assert (HTTPStatus.FORBIDDEN, "ForbiddenError") == (refused.status_code, refused.json()["code"])
    assert HTTPStatus.ACCEPTED == taken.status_code


def test_a_quota_counts_the_items_of_open_jobs_and_of_no_other_owner() -> None:
    with in_memory_client(
        model="looks", item_shape=[2, 2], classes=CLASSES, run_at_once=False
    ) as client:
        objects = client._models.objects
        identity = Identity(api_keys=ApiKeys(objects=objects), rates=Rates.in_memory())
        deployment = Deployment.of(Settings(), objects=objects, client=client, identity=identity)
        http = TestClient(create_app(deployment), base_url="http://localhost")

        def submit(token: str, key: str) -> dict[str, Any]:
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
            found: dict[str, Any] = http.post("/v1/jobs", json=INLINE, headers=headers).json()
            return found

        create = identity.api_keys.create
        _, shop = create("shop", scopes=[Scope.JOBS_WRITE], open_items=7)
        _, bank = create("bank", scopes=[Scope.JOBS_WRITE], open_items=3)
        first, second, third = [submit(shop, key) for key in "abc"]

        assert "QUEUED" == submit(bank, "a")["state"]
        assert (["QUEUED"] * 2, "RateExceededError") == (
            [first["state"], second["state"]],
            third["code"],
        )
        # The same job again is no other job.
        assert first["id"] == submit(shop, "a")["id"]
        client.job(first["id"]).cancel()
        assert "QUEUED" == submit(shop, "c")["state"]

        def retry(job_id: str) -> dict[str, Any]:
            headers = {"Authorization": f"Bearer {shop}"}
            found: dict[str, Any] = http.post(
                f"/v1/jobs/{job_id}/retry-failed", headers=headers
            ).json()
            return found

        # What is run again counts, once.
        assert "RateExceededError" == retry(first["id"])["code"]
        client.job(second["id"]).cancel()
        again = retry(first["id"])
        assert ("QUEUED", again["id"]) == (again["state"], retry(first["id"])["id"])
        assert "RateExceededError" == retry(second["id"])["code"]


def test_a_quota_counts_what_is_computed_again(caller_of: CallerOf) -> None:
    allowed = caller_of(Scope.JOBS_WRITE, Scope.JOBS_READ)
    ended = allowed.post("/v1/jobs", json=INLINE).headers["Location"]
    assert "SUCCEEDED" == allowed.get(ended).json()["state"]

    refused = caller_of(Scope.JOBS_WRITE, open_items=1).post(f"{ended}/verify")

    assert (429, "RateExceededError") == (refused.status_code, refused.json()["code"])
    assert (
        HTTPStatus.ACCEPTED
        == caller_of(Scope.JOBS_WRITE, open_items=9).post(f"{ended}/verify").status_code
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, HTTPStatus.MISDIRECTED_REQUEST),
        ({"Host": "127.0.0.1.evil.example"}, HTTPStatus.MISDIRECTED_REQUEST),
        ({"Host": "localhost:8080"}, HTTPStatus.OK),
        ({"Host": "[::1]:8080"}, HTTPStatus.OK),
        ({"Origin": "https://evil.example"}, HTTPStatus.FORBIDDEN),
        ({"Origin": "null"}, HTTPStatus.FORBIDDEN),
        ({"Origin": "http://127.0.0.1:9"}, HTTPStatus.FORBIDDEN),
        ({"Origin": "http://127.0.0.1"}, HTTPStatus.OK),
    ],
)
def test_other_hosts_and_the_pages_of_other_sites_are_refused(
    caller: TestClient, headers: dict[str, str], status: HTTPStatus
) -> None:
    assert status == caller.get("/v1/models", headers=headers).status_code


def test_a_page_of_another_site_cannot_post(caller: TestClient) -> None:
    answer = caller.post("/v1/jobs", json=INLINE, headers={"Sec-Fetch-Site": "cross-site"})

    assert (HTTPStatus.FORBIDDEN, "OriginError") == (answer.status_code, answer.json()["code"])


def test_a_probe_needs_neither_host_nor_key(caller: TestClient) -> None:
    del caller.headers["Authorization"]

    assert HTTPStatus.OK == caller.get("/healthz", headers={"Host": "10.0.0.7:8080"}).status_code
