"""What a gateway counts: answers by the template of their route, for keys that may read it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fornada.metrics.instrument import Role
from fornada.metrics.process import ProcessMetrics
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from producer.client import Client

from ...deployment import environ_of, publish_unloadable
from ...scraped import Scraped, metrics_url, scrape
from .conftest import CallerOf
from .processes import gateway_process


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


@pytest.mark.slow
def test_where_no_worker_runs_a_gateway_leads_and_tells_what_waits(
    settings: Settings, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    # given a job of three shards, of which the queue has room for two
    settings = settings.model_copy(
        update={"metrics_port": 0, "enqueue_window": 2, "max_inline_bytes": 0}
    )
    objects = S3ObjectStore.from_settings(settings)
    publish_unloadable(objects, "m", item_shape=[2, 2], classes=["a", "b"])
    with Client.from_settings(settings) as client:
        client.submit(np.zeros((25, 2, 2), np.uint8), model="m", items_per_shard=10)
    log = tmp_path / "gateway.log"

    with gateway_process(environ_of(settings), log_path=log):
        url = str(metrics_url(log))
        wait_until(lambda: any(scrape(url).samples("fornada_backlog_shards")), 60)
        found = scrape(url)

    queue = {"queue": settings.queue}
    assert 1 == found.value("fornada_reconciler_leader", **queue)
    assert 1 == found.value("fornada_jobs_open", **queue)
    shards = {"waiting": 1, "queued": 2, "reserved": 0, "running": 0}
    assert shards == found.by("state", "fornada_backlog_shards", **queue)
    items = {"waiting": 5, "queued": 20, "reserved": 0, "running": 0}
    assert items == found.by("state", "fornada_backlog_items", **queue)
    assert 0 < found.value("fornada_backlog_oldest_seconds", **queue) < 3600
    assert 0 < found.value("fornada_store_requests_total", op="get", code="ok")
