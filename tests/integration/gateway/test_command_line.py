"""`fornada` against a gateway: no command reaches Redis or the store."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import structlog
from fastapi.testclient import TestClient
from PIL import Image

from fornada.commands.router import main
from fornada.errors import ConfigError
from gateway.auth.scopes import Scope
from producer.asynchronous.client import AsyncClient
from producer.client import Client

from .conftest import CLASSES, CallerOf


class _Done(NamedTuple):
    code: int
    out: str
    err: str


_Run = Callable[..., _Done]


@pytest.fixture
def run(
    gateway_url: str,
    caller: TestClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[_Run]:
    """Runs `fornada ARGUMENTS` in a folder with `items.npy`, six items; the last two are bags."""
    np.save(
        tmp_path / "items.npy",
        np.full((6, 2, 2), 2, np.uint8) * np.array([0, 0, 0, 0, 1, 1], np.uint8).reshape(6, 1, 1),
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORNADA_URL", gateway_url)
    key = caller.headers["Authorization"].removeprefix("Bearer ")
    monkeypatch.setenv("FORNADA_API_KEY", key)
    # Nothing listens there.
    monkeypatch.setenv("FORNADA_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("FORNADA_S3_ENDPOINT_URL", "http://127.0.0.1:1")
    handlers, level = list(logging.root.handlers), logging.root.level

    def fornada(*arguments: str) -> _Done:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return _Done(int(ended.value.code or 0), captured.out, captured.err)

    yield fornada
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()


def _submitted(run: _Run, *arguments: str) -> str:
    done = run("submit", "items.npy", "--model", "looks@prod", "--wait", "--json", *arguments)
    assert 0 == done.code, done.err
    status = json.loads(done.out)
    assert ("SUCCEEDED", 6) == (status["state"], status["items_ok"])
    return str(status["job_id"])


def test_files_become_a_job_and_its_results_a_file(run: _Run, tmp_path: Path) -> None:
    job_id = _submitted(run, "--tag", "team=x", "--items-per-shard", "4")

    shown = run("jobs", "show", job_id)
    lines = run("jobs", "results", job_id).out.splitlines()
    saved = run("jobs", "results", job_id, "--format", "npy", "--output", "out.npy")

    assert "tag team" in shown.out
    assert ["shirt"] * 4 + ["bag"] * 2 == [json.loads(line)["label"] for line in lines]
    assert (0, "wrote 6 results to out.npy\n") == (saved.code, saved.err)
    assert (6, len(CLASSES)) == np.load(tmp_path / "out.npy").shape


def test_what_a_job_took_and_predicted_is_shown_and_compared(run: _Run) -> None:
    first, second = [_submitted(run, "--idempotency-key", f"order-{n}") for n in range(2)]

    shown = run("jobs", "show", first)
    figures = json.loads(run("jobs", "show", first, "--json").out)["figures"]
    drift = run("jobs", "drift", first, "--against", second)
    answer = json.loads(run("jobs", "drift", first, "--against", second, "--json").out)
    alone = run("jobs", "drift", first)

    assert "shirt 4, bag 2" in shown.out
    assert "mean 1.000, deciles" in shown.out
    assert [("shirt", 4), ("shoe", 0), ("bag", 2)] == [
        (each["name"], each["items"]) for each in figures["predicted"][0]["classes"]
    ]
    # Headers of 128 bytes; 4 bytes an item in, and 12 out.
    assert (128 + 6 * 4, 128 + 6 * 12) == (figures["bytes_in"], figures["bytes_out"])
    assert f"against job {second}: stable" in drift.out
    assert "PSI 0.000" in drift.out
    assert ("stable", 0.0) == (answer["verdict"], answer["outputs"][0]["class_shift"]["psi"])
    assert (1, True) == (alone.code, "or compare with another job" in alone.err)


def test_the_same_key_is_the_same_job(run: _Run) -> None:
    first, second = [_submitted(run, "--idempotency-key", "order-7") for _ in range(2)]

    assert first == second


@pytest.mark.parametrize("key", ["photos-1", "orders/7 of 9?#%", "Größe 日本", "../models"])
def test_an_idempotency_key_finds_its_job_as_an_id_does(run: _Run, key: str) -> None:
    job_id = _submitted(run, "--idempotency-key", key)

    shown = run("jobs", "show", key, "--json")
    lines = run("jobs", "results", key).out.splitlines()
    verified = run("jobs", "verify", key, "--json")

    assert (0, job_id) == (shown.code, json.loads(shown.out)["job_id"])
    assert (6, 0) == (len(lines), verified.code)


def test_jobs_are_listed_verified_and_counted(run: _Run) -> None:
    job_id = _submitted(run)

    listed = json.loads(run("jobs", "list", "--json").out)
    verified = json.loads(run("jobs", "verify", job_id, "--json").out)
    backlog = json.loads(run("jobs", "backlog", "--json").out)

    assert job_id in [job["job_id"] for job in listed["jobs"]]
    assert (True, 6) == (verified["same"], verified["items"])
    assert 0 == backlog["total"]["items"]


def test_items_are_predicted_at_once(run: _Run) -> None:
    done = run("predict", "items.npy", "--model", "looks@prod", "--top-k", "1")

    assert 0 == done.code, done.err
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert ["shirt"] * 4 + ["bag"] * 2 == [line["label"] for line in lines]
    assert ["bag"] == lines[-1]["top_labels"]


def test_models_are_listed_as_the_store_lists_them(run: _Run) -> None:
    table, listed = run("models", "list"), json.loads(run("models", "list", "--json").out)

    assert "looks:1" in table.out
    assert "@prod→1" in table.out
    (model,) = listed["models"]
    assert ("looks", [1], 1, {"prod": 1}) == (
        model["name"],
        model["versions"],
        model["newest"],
        model["aliases"],
    )
    assert [{"name": "inputs", "dtype": "uint8", "shape": [2, 2]}] == [
        {name: tensor[name] for name in ("name", "dtype", "shape")} for tensor in model["inputs"]
    ]


@pytest.fixture
def gateway_alone(run: _Run, monkeypatch: pytest.MonkeyPatch) -> _Run:
    """As `run`, without settings of the deployment."""
    monkeypatch.delenv("FORNADA_REDIS_URL")
    monkeypatch.delenv("FORNADA_S3_ENDPOINT_URL")
    return run


@pytest.mark.parametrize(
    "command",
    [
        "models show looks",
        "models promote looks 1 --alias prod",
        "keys list",
        "keys create shop",
        "queue quarantine list",
        "train --data x.npz --name x",
        "doctor --model looks",
    ],
)
def test_a_command_that_no_gateway_offers_says_so(gateway_alone: _Run, command: str) -> None:
    done = gateway_alone(*command.split())

    assert 2 == done.code
    assert "FORNADA_URL names a gateway alone; set FORNADA_REDIS_URL" in done.err


def test_a_client_in_python_says_that_it_needs_the_deployment() -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ConfigError, match="a Client reaches Redis and the store itself"):
            kind.from_env({"FORNADA_URL": "http://127.0.0.1:1", "FORNADA_API_KEY": "k"})


def test_the_doctor_examines_the_gateway_and_its_key(
    gateway_alone: _Run, caller_of: CallerOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> tuple[int, dict[str, list[str]]]:
        done = gateway_alone("doctor", "--json")
        findings = json.loads(done.out)["findings"]
        return done.code, {f["check"]: [f["status"], f["detail"]] for f in findings}

    def use(key: str) -> None:
        monkeypatch.setenv("FORNADA_API_KEY", key.removeprefix("Bearer "))

    full, whole = found()
    use(caller_of(Scope.PREDICT).headers["Authorization"])
    some, part = found()
    use("x" * 32)
    none, stranger = found()
    monkeypatch.setenv("FORNADA_URL", "http://127.0.0.1:1")
    nobody, unreachable = found()

    assert [0, 0, 1, 1] == [full, some, none, nobody]
    assert {"settings", "gateway", "key"} == whole.keys()
    assert "not" not in whole["key"][1]
    assert part["key"][1].startswith("it allows predict, and not jobs:read")
    assert "fail" == stranger["key"][0]
    assert "cannot be reached" in unreachable["gateway"][1]


def test_image_files_are_predicted_under_their_names(run: _Run, tmp_path: Path) -> None:
    (tmp_path / "wardrobe").mkdir()
    for name, level in (("a shirt.png", 0), ("bag 2.png", 2)):
        Image.fromarray(np.full((2, 2), level, np.uint8)).save(tmp_path / "wardrobe" / name)
    (tmp_path / "wardrobe" / "torn.jpg").write_bytes(b"\xff\xd8\xff no picture")

    done = run("predict", "wardrobe", "--model", "looks@prod")

    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [("a shirt.png", "shirt"), ("bag 2.png", "bag"), ("torn.jpg", None)] == [
        (line["item_id"], line["label"]) for line in lines
    ]
    assert (1, True) == (done.code, "1 item has no result" in done.err)
    assert "image" in lines[-1]["error"]


def test_errors_are_those_of_the_deployment(run: _Run, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = run("jobs", "show", "no-such-job")
    unknown = run("submit", "items.npy", "--model", "hats")
    own = run("jobs", "purge", "--older-than", "1d")
    monkeypatch.setenv("FORNADA_API_KEY", "x" * 32)
    stranger = run("jobs", "list")
    monkeypatch.setenv("FORNADA_URL", "http://127.0.0.1:1")
    nobody = run("jobs", "list")
    monkeypatch.delenv("FORNADA_API_KEY")
    keyless = run("jobs", "list")

    assert [2, 2, 2, 2, 1, 2] == [
        done.code for done in (missing, unknown, own, stranger, nobody, keyless)
    ], [done.err for done in (missing, unknown, own, stranger, nobody, keyless)]
    assert "no-such-job" in missing.err
    assert "FORNADA_URL names a gateway" in own.err
    assert "the gateway http://127.0.0.1:1 cannot be reached" in nobody.err
    assert "FORNADA_API_KEY" in keyless.err
