"""`fornada submit` and `fornada jobs`: what they print, and how they exit."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from fornada.commands.router import main
from fornada.coordination.interface import Claim, ShardEnd
from fornada.coordination.redis import RedisCoordination
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from fornada.records import now
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore

from ...deployment import publish_unloadable

IMAGES = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)


class _Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


#: Runs `fornada ARGUMENTS`, with changes of the environment.
_Run = Callable[..., _Done]


@pytest.fixture
def run(
    environ: dict[str, str],
    rclone_objects: S3ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[_Run]:
    """In a folder with `images.npy`, on a deployment with the model `m`; in this process."""
    np.save(tmp_path / "images.npy", IMAGES)
    publish_unloadable(rclone_objects, "m", item_shape=[2, 2], classes=["a", "b"])
    monkeypatch.chdir(tmp_path)
    # A command sets up the logging of its process.
    handlers, level = list(logging.root.handlers), logging.root.level

    def fornada(*arguments: str, **changes: str) -> _Done:
        with monkeypatch.context() as patch:
            for name, value in (environ | changes).items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main(list(arguments))
        captured = capsys.readouterr()
        return _Done(int(ended.value.code or 0), captured.out, captured.err)

    yield fornada
    logging.root.handlers = handlers
    logging.root.setLevel(level)


def test_a_job_is_submitted_shown_listed_cancelled_and_read(
    run: _Run,
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

    backlog = json.loads(run("jobs", "backlog", "--json").stdout)
    assert {"shards": 3, "items": 10} == backlog["queued"] == backlog["total"]
    assert ["total", "3", "10"] == run("jobs", "backlog").stdout.splitlines()[-1].split()

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


def test_a_jobs_items_shards_attempts_times_and_dead_are_shown(
    run: _Run,
    settings: Settings,
    rclone_objects: S3ObjectStore,
) -> None:
    # given a job of twenty shards, of which twelve are dead and one is running
    run("submit", "images.npy", "images.npy", "--model", "m", "--items-per-shard", "1",
        "--idempotency-key", "night")  # fmt: skip
    coordination = RedisCoordination.from_settings(settings)
    jobs = JobStore(objects=rclone_objects)
    model = jobs.manifest("night").model
    for shard in range(12):
        coordination.begin([Claim("night", shard, "a")], lease_s=60)
        jobs.commit(
            ShardOutcome(
                job_id="night",
                shard=shard,
                status="dead",
                attempt="a",
                item_count=1,
                reason="input",
                detail=f"it is gone {shard}",
                model_sha256=model.sha256,
                worker="w",
                began_at=now(),
                committed_at=now(),
            )
        )
        coordination.mark_done("night", [ShardEnd(shard, dead=True)])
    coordination.begin([Claim("night", 12, "b")], lease_s=60)

    shown = run("jobs", "show", "night").stdout
    as_json = json.loads(run("jobs", "show", "night", "--json").stdout)

    assert "12 of 20 done, 0 ok, 12 failed" in shown
    assert "12 of 20 done, 12 dead, 1 running, 7 queued" in shown
    assert "items 9 to 9, input: it is gone 9" in shown
    assert "it is gone 10" not in shown
    assert "and 2 more, see --json" in shown
    assert ("RUNNING", 13, 12, 1, 7) == tuple(
        as_json[n] for n in ("state", "attempts", "shards_dead", "shards_running", "shards_queued")
    )
    assert as_json["created_at"] < as_json["started_at"]
    assert [(n, "input", f"it is gone {n}") for n in range(12)] == [
        (dead["shard"], dead["reason"], dead["detail"]) for dead in as_json["dead"]
    ]


def test_a_users_mistake_is_one_line_and_no_traceback(run: _Run) -> None:
    submit = ("submit", "images.npy", "--model")
    for arguments, error in (
        (("submit", "none.npy", "--model", "m"), "none.npy"),
        ((*submit, "m", "--tag", "x"), "--tag 'x' is not KEY=VALUE"),
        ((*submit, "m", "--deadline", "-1"), "deadline_s is -1"),
        (("submit", "s3://a/b", "images.npy", "--model", "m"), "s3:// prefix alone"),
        (("jobs", "cancel", "a/b"), "not a valid name"),
    ):
        done = run(*arguments)

        assert (2, "") == (done.returncode, done.stdout)
        assert error in done.stderr
        assert done.stderr.startswith("error: ")
        assert 1 == len(done.stderr.splitlines())
