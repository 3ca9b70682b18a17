"""What a gateway counts: answers by the template of their route, for keys that may read it."""

import pytest

from fornada.metrics.instrument import Role
from fornada.metrics.process import ProcessMetrics
from fornada.settings import Settings
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from producer.client import Client

from ...scraped import Scraped
from .conftest import CallerOf


@pytest.fixture
def deployment(deployment: Deployment, client: Client) -> Deployment:
    """One that counts."""
    return Deployment.of(
        Settings(),
        objects=deployment.objects,
        client=client,
        identity=deployment.identity,
        metrics=ProcessMetrics(Role.GATEWAY),
    )


def counted(caller_of: CallerOf) -> dict[tuple[str, str], float]:
    """Requests by route and status, as a key for nothing else sees them."""
    answer = caller_of(Scope.METRICS_READ).get("/metrics")
    assert 200 == answer.status_code, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")
    samples = Scraped(answer.text).samples("fornada_gateway_requests_total")
    return {(labels["route"], labels["code"]): value for labels, value in samples}


def test_answers_count_by_the_template_of_their_route(caller_of: CallerOf) -> None:
    caller = caller_of(Scope.JOBS_READ, Scope.PREDICT)
    for job_id in ("one", "other"):
        caller.get(f"/v1/jobs/{job_id}")
    caller.get("/healthz")
    caller.post("/v1/models/none/predict", json={"instances": []})
    caller.post("/v2/models/none/versions/3/infer", json={})
    caller.get("/static/console.css")
    for path in ("/wp-login.php", "/v1/jobs/one/x/y/z", "/static/none.js"):
        caller.get(path)
    caller.get("/healthz", headers={"Host": "evil.example.com"})
    caller.get("/v1/models", headers={"Host": "evil.example.com"})

    assert {
        ("/v1/jobs/{job_id}", "404"): 2,
        ("/healthz", "200"): 2,
        ("/v1/models/{model}/predict", "404"): 1,
        ("/v2/models/{model}/infer", "404"): 1,
        ("/static", "200"): 1,
        ("/static", "404"): 1,
        # Anyone may ask for any path.
        ("other", "404"): 2,
        ("other", "421"): 1,
    } == counted(caller_of)


def test_a_key_without_the_scope_reads_no_metrics(caller_of: CallerOf) -> None:
    refused = caller_of(Scope.JOBS_READ).get("/metrics")

    assert 403 == refused.status_code
    assert "has no scope metrics:read" in refused.json()["detail"]
