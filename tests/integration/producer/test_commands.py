"""`fornada submit` and `fornada jobs` as a shell sees them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fornada.local.ports import free_port
from fornada.object_store import S3ObjectStore
from model_store.manifest import ModelDraft
from model_store.store import ModelStore

IMAGES = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)


@pytest.fixture
def run(
    environ: dict[str, str], rclone_objects: S3ObjectStore, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `fornada ARGUMENTS` where `images.npy` lies and a model is published."""
    np.save(tmp_path / "images.npy", IMAGES)
    ModelStore(objects=rclone_objects).publish(
        ModelDraft(name="m", item_shape=[2, 2], item_dtype="uint8", classes=["a", "b"]),
        artifact=b"weights",
        golden_inputs=IMAGES[:1],
        golden_outputs=np.zeros((1, 2), np.float32),
        check=lambda _artifact: None,
    )

    def fornada(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fornada", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env={**environ, **changes},
            cwd=tmp_path,
            timeout=60,
        )

    return fornada


def test_a_job_is_submitted_shown_listed_cancelled_and_read(
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    # given a job of three shards
    done = run(
        "submit", "images.npy", "--model", "m", "--items-per-shard", "4",
        "--tag", "team=vision", "--idempotency-key", "night", "--json",
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    submitted = json.loads(done.stdout)
    assert ("night", "QUEUED", 10, 3, {"team": "vision"}) == tuple(
        submitted[name] for name in ("job_id", "state", "items", "shards", "tags")
    )

    # when it is looked at, then it is there
    assert (
        submitted["job_id"] == json.loads(run("jobs", "show", "night", "--json").stdout)["job_id"]
    )
    assert ["night"] == [
        job["job_id"] for job in json.loads(run("jobs", "list", "--json").stdout)["jobs"]
    ]
    assert "night" in run("jobs", "list").stdout

    # when it is waited for without a worker, then that is said in one line
    waited = run("jobs", "watch", "night", "--timeout", "0.1")
    assert 1 == waited.returncode
    assert "error: job night has 0 of 3 shards after 0.1 s" in waited.stderr

    # when results are asked for too early, then that is refused, unless partial
    early = run("jobs", "results", "night")
    assert 1 == early.returncode
    assert "error: job night has not ended" in early.stderr
    partial = run("jobs", "results", "night", "--partial", "--format", "jsonl")
    assert 10 == len(partial.stdout.splitlines())

    # when it is cancelled, then it is
    assert "CANCELLED" == json.loads(run("jobs", "cancel", "night", "--json").stdout)["state"]
    watched = run("jobs", "watch", "night", "--json")
    assert (1, "CANCELLED") == (watched.returncode, json.loads(watched.stdout)["state"])


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("submit", "images.npy", "--model", "other"), 2, "no model 'other'; there are: m"),
        (("submit", "images.npy", "--model", "m:7"), 2, "has no version 7"),
        (("submit", "images.npy", "--model", "m@prod"), 2, "has no alias 'prod'"),
        (("submit", "none.npy", "--model", "m"), 2, "none.npy"),
        (("submit", "images.npy", "--model", "m", "--tag", "x"), 2, "--tag 'x' is not KEY=VALUE"),
        (("submit", "images.npy", "--model", "m", "--deadline", "-1"), 2, "deadline_s is -1"),
        (("submit", "s3://a/b", "images.npy", "--model", "m"), 2, "s3:// prefix alone"),
        (("jobs", "show", "nobody"), 2, "no job 'nobody'"),
        (("jobs", "cancel", "a/b"), 2, "not a valid name"),
    ],
)
def test_a_users_mistake_is_one_line_and_no_traceback(
    run: Callable[..., subprocess.CompletedProcess[str]],
    arguments: tuple[str, ...],
    code: int,
    error: str,
) -> None:
    done = run(*arguments)

    assert code == done.returncode
    assert "" == done.stdout
    assert error in done.stderr
    assert done.stderr.startswith("error: ")
    assert 1 == len(done.stderr.splitlines())


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("FORNADA_REDIS_URL", "redis://127.0.0.1:{port}/0", 1),
        ("FORNADA_S3_ENDPOINT_URL", "http://127.0.0.1:{port}", 1),
        ("FORNADA_S3_BUCKET", "nowhere-at-all", 2),
        ("FORNADA_S3_SECRET_ACCESS_KEY", "wrong-secret", 2),
    ],
)
def test_a_broken_deployment_is_one_line_and_no_traceback(
    run: Callable[..., subprocess.CompletedProcess[str]], variable: str, value: str, code: int
) -> None:
    done = run("submit", "images.npy", "--model", "m", **{variable: value.format(port=free_port())})

    assert code == done.returncode
    assert variable in done.stderr
    assert 1 == len(done.stderr.splitlines())
