"""Clients that others' generators make of the API's description submit a job and read it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from gateway.app import create_app
from gateway.deployment import Deployment

from .serving import served

pytestmark = pytest.mark.slow

FILE = Path(__file__).parents[3] / "docs/reference/openapi.json"

_PYTHON = """
import sys
from clients.fornada import AuthenticatedClient
from clients.fornada.api.jobs import submit_job, show_job
from clients.fornada.api.results import read_results
from clients.fornada.models import InlineInput, JobRequest

url, token = sys.argv[1:]
with AuthenticatedClient(base_url=url, token=token) as client:
    given = InlineInput(type_="inline", items=[[[1, 0], [0, 0]]], item_ids=["a"])
    job = submit_job.sync(client=client, body=JobRequest(model="looks@prod", input_=given))
    shown = show_job.sync(job.id, client=client)
    results = read_results.sync_detailed(job.id, client=client)
    print(shown.state, shown.counts.ok, results.content.decode())
"""
_TYPESCRIPT = """
import createClient from "openapi-fetch";
import type { components, paths } from "./fornada.js";

const [url, token] = process.argv.slice(2);
const fornada = createClient<paths>({
  baseUrl: url,
  headers: { Authorization: `Bearer ${token}` },
});
const { data: job, error } = await fornada.POST("/v1/jobs", {
  params: { header: { "idempotency-key": "order-1" } },
  body: {
    model: "looks@prod",
    input: { type: "inline", items: [[[1, 0], [0, 0]]], item_ids: ["a"] },
  },
});
if (error) throw new Error(error.detail);
const { data: shown } = await fornada.GET("/v1/jobs/{job_id}", {
  params: { path: { job_id: job.id } },
});
const counts: components["schemas"]["ItemCounts"] = shown!.counts;
const results = await fornada.GET("/v1/jobs/{job_id}/results", {
  params: { path: { job_id: job.id }, query: { format: "jsonl" } },
  parseAs: "text",
});
console.log(shown!.state, counts.ok, results.data);
"""


@pytest.fixture
def gateway(deployment: Deployment) -> Iterator[str]:
    with served(create_app(deployment)) as url:
        yield url


def _run(command: list[str], folder: Path, *, timeout_s: float = 300) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def _check(said: str) -> None:
    """Check that the job was read."""
    state, ok, results = said.split(" ", 2)
    row: dict[str, Any] = json.loads(results)
    assert ("SUCCEEDED", "1", "a", "shoe") == (state, ok, row["item_id"], row["label"])


def _token(caller: TestClient) -> str:
    return caller.headers["Authorization"].removeprefix("Bearer ")


def test_a_generated_python_client(gateway: str, caller: TestClient, tmp_path: Path) -> None:
    program = shutil.which("openapi-python-client", path=str(Path(sys.executable).parent))
    assert program is not None
    out = tmp_path / "clients" / "fornada"
    out.parent.mkdir()
    options = ["--meta", "none", "--output-path", str(out), "--overwrite"]
    _run([program, "generate", "--path", str(FILE), *options], tmp_path)

    said = _run([sys.executable, "-c", _PYTHON, gateway, _token(caller)], tmp_path)

    _check(said)


@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm")
def test_a_generated_typescript_client(gateway: str, caller: TestClient, tmp_path: Path) -> None:
    packages = ["openapi-typescript@7", "openapi-fetch@0", "typescript@5", "@types/node@20"]
    (tmp_path / "package.json").write_text('{"type": "module"}')
    npm = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", *packages],
        cwd=tmp_path,
        env={**os.environ, "npm_config_cache": str(tmp_path / "npm")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if npm.returncode:
        pytest.skip(f"npm installs nothing here: {npm.stderr[-200:]}")
    (tmp_path / "use.ts").write_text(_TYPESCRIPT)
    _run(["npx", "openapi-typescript", str(FILE), "-o", "fornada.d.ts"], tmp_path)
    strict = ["--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck"]
    _run(["npx", "tsc", *strict, "use.ts"], tmp_path)

    said = _run(["node", "use.js", gateway, _token(caller)], tmp_path)

    _check(said)
