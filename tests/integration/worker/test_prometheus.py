"""A real Prometheus scrapes a worker and a gateway: it reads what a known job did."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pytest
from numpy.typing import NDArray

from fornada.local.ports import free_port
from fornada.metrics.instruments import NAMES
from gateway.auth.scopes import Scope

from ...deployment import TILE_ITEMS
from ...scraped import metrics_url
from ..gateway.processes import gateway_process, key_headers
from .conftest import START_S

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="Debian's package prometheus is not installed"
    ),
]

Deploy = Callable[..., tuple[Any, Callable[..., Any]]]
WaitUntil = Callable[..., None]


class _Prometheus:
    """A Prometheus that scrapes twice a second."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        try:
            with urlopen(f"{self._url}/-/ready", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, query: str) -> dict[str, float]:
        """The values of a query by its one label, or by "" without one."""
        with urlopen(f"{self._url}/api/v1/query?{urlencode({'query': query})}") as answer:
            found = json.load(answer)["data"]["result"]
        return {
            "".join(v for k, v in each["metric"].items() if k != "__name__"): float(
                each["value"][1]
            )
            for each in found
        }

    def names(self) -> set[str]:
        """The names of our series."""
        with urlopen(f"{self._url}/api/v1/label/__name__/values") as answer:
            return {name for name in json.load(answer)["data"] if name.startswith("fornada_")}


@contextmanager
def prometheus(folder: Path, *scrapes: dict[str, Any]) -> Iterator[_Prometheus]:
    """A Prometheus with these jobs, its data in the folder."""
    config = {"global": {"scrape_interval": "500ms"}, "scrape_configs": list(scrapes)}
    # JSON is YAML.
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield _Prometheus(port)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def deployment(deploy: Deploy, wait_until: WaitUntil) -> Any:
    """A worker of two processes that is up, and serves metrics at a free port."""
    deployment, start = deploy(
        metrics_port=0, worker_threads=2, max_inline_bytes=0, lease_s=1, requeue_after_s=1
    )
    start("--processes", "2")
    wait_until(lambda: len(deployment.worker_pids()) == 2, START_S)
    return deployment


def test_it_reads_what_a_job_did_and_what_a_kill_changed(
    deployment: Any, images: NDArray[np.uint8], wait_until: WaitUntil, tmp_path: Path
) -> None:
    def run_job() -> None:
        job = deployment.client.submit(images, model="m", items_per_shard=100)
        assert deployment.is_right(job, images)

    with gateway_process(deployment.environ, log_path=tmp_path / "gateway.log") as gateway:
        key = key_headers(deployment.settings, Scope.METRICS_READ)["Authorization"]
        scrapes = [
            _scrape("worker", str(metrics_url(deployment.folder / "worker.log"))),
            _scrape("gateway", f"{gateway.url}/metrics")
            | {"authorization": {"credentials": key.removeprefix("Bearer ")}},
            _scrape("gateway-port", str(metrics_url(tmp_path / "gateway.log"))),
        ]
        with prometheus(tmp_path, *scrapes) as found:
            wait_until(found.is_ready, START_S)
            wait_until(
                lambda: (
                    found.ask("min by (job) (up)")
                    == dict.fromkeys(("worker", "gateway", "gateway-port"), 1)
                ),
                START_S,
            )
            run_job()

            def says(query: str, expected: dict[str, float]) -> None:
                wait_until(lambda: found.ask(query) == expected, START_S)

            says("sum by (result) (fornada_items_total)", {"ok": 300, "failed": 0})
            says("sum by (outcome) (fornada_shards_total)", {"ok": 3, "dead": 0})
            stages = "sum by (stage) (fornada_shard_stage_seconds_count) > 0"
            says(stages, dict.fromkeys(("fetch", "wait", "predict", "put", "commit"), 3))
            padding = "sum(fornada_predict_padding_rows_total + fornada_predict_call_rows_sum)"
            says(f"({padding}) / sum(fornada_predict_call_rows_count)", {"": TILE_ITEMS})
            says('sum(fornada_store_requests_total{job="worker",op=~"put.*",code="ok"})', {"": 7})
            says('sum by (queue) (fornada_reconciler_leader{job!="gateway"})', {"fornada": 1})
            says("sum by (state) (fornada_jobs_ended_total) > 0", {"SUCCEEDED": 1})
            says("sum by (job) (fornada_worker_restarts_total)", {"worker": 0})

            os.kill(deployment.worker_pids()[0], signal.SIGKILL)
            says("sum by (reason) (fornada_worker_restarts_total) > 0", {"signal": 1})
            run_job()
            says("sum by (result) (fornada_items_total)", {"ok": 600, "failed": 0})
            # What was counted before the kill is no longer in any process.
            says("resets(fornada_items_total[10m]) > 0", {})
            assert found.names() <= NAMES.keys()


def test_what_is_served_is_as_prometheus_wants_it(
    deployment: Any, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    deployment.client.submit(images, model="m").wait(timeout_s=START_S)
    with gateway_process(deployment.environ, log_path=tmp_path / "gateway.log") as gateway:
        urlopen(f"{gateway.url}/healthz").close()
        for log in (deployment.folder / "worker.log", tmp_path / "gateway.log"):
            with urlopen(str(metrics_url(log))) as answer:
                text = answer.read()
            checked = subprocess.run(
                ["promtool", "check", "metrics"], input=text, capture_output=True
            )

            assert (0, b"", b"") == (checked.returncode, checked.stdout, checked.stderr), text


def _scrape(name: str, url: str) -> dict[str, Any]:
    host = url.removeprefix("http://").removesuffix("/metrics")
    return {"job_name": name, "static_configs": [{"targets": [host]}]}
