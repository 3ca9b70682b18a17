"""Bad messages that only a worker can detect: it reports them and continues."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada import keys

from ..junk import FUTURE, envelope


def test_an_artifact_that_is_not_what_its_digest_says(live: Any, folder: Path) -> None:
    # Given a model of which one byte was changed in the store
    manifest = live.publish("tampered")
    live.objects.put(manifest.artifact.key, b"no Model")
    words = ["does not match its sha256", "publish the model again"]

    # When
    done = live.run(*_submit("tampered"), "--wait", "--json", cwd=folder)

    # Then its job ends, with the reason
    assert 1 == done.returncode
    ended = json.loads(done.stdout)
    assert "FAILED" == ended["state"]
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"error: job {ended['job_id']} ended FAILED: model tampered:1: ")
    assert [] == [word for word in words if word not in line]
    assert "Traceback" not in done.stderr
    live.refuses("jobs", "results", ended["job_id"], code=1, words=["ended FAILED", *words])

    # And doctor says so too
    checked = live.run("doctor", "--model", "tampered", "--json")
    assert 1 == checked.returncode
    found = {each["check"]: each for each in json.loads(checked.stdout)["findings"]}
    assert "fail" == found["model"]["status"]
    assert [] == [word for word in words if word not in found["model"]["detail"]]
    assert "Traceback" not in checked.stderr

    # And the worker continues
    _check_worker_goes_on(live, folder)
    for info in live.objects.list(keys.ModelKeys("tampered").prefix):
        live.objects.delete(info.key)


def test_a_message_for_a_job_that_does_not_exist_is_dropped(
    live: Any, wait_until: Callable[..., None]
) -> None:
    before = live.worker_log.stat().st_size

    _push(live, json.dumps(envelope()))

    wait_until(lambda: "no job 'no-such-job'" in _log_since(live, before), timeout_s=60)
    assert "message dropped" in _log_since(live, before)


def test_what_is_no_message_is_listed_with_its_reason_until_it_is_dropped(
    live: Any, folder: Path, wait_until: Callable[..., None]
) -> None:
    # given what no Celery can open, and what a terminal would obey
    _push(live, b"\x1b]0;title\x07[red]x[/red]", json.dumps(envelope(headers={"eta": FUTURE})))
    wait_until(lambda: 2 == len(_quarantined(live)), timeout_s=60)

    # when
    listed = live.run("queue", "quarantine", "list")

    # then
    newest, oldest = _quarantined(live)
    assert "headers.eta: Input should be null" in newest["reason"]
    assert b"\x1b]0;title" in base64.b64decode(oldest["start"])
    assert 0 == listed.returncode, listed.stderr
    assert "headers.eta: Input should be null" in listed.stdout
    assert "\\x1b]0;title\\x07[red]x[/red]" in listed.stdout
    assert "\x1b" not in listed.stdout
    # And it is forgotten, and the worker continues.
    assert 2 == live.answer("queue", "quarantine", "drop")["dropped"]
    assert "nothing in quarantine\n" == live.run("queue", "quarantine", "list").stdout
    _check_worker_goes_on(live, folder)


def _check_worker_goes_on(live: Any, folder: Path) -> None:
    """The same worker process still predicts, and every listing still lists."""
    workers = live.workers
    done = live.answer(*_submit("digits"), "--wait", "--timeout", "60", cwd=folder)
    assert ("SUCCEEDED", 6) == (done["state"], done["items_ok"])
    assert workers == live.workers
    assert done["job_id"] in live.job_ids()
    assert "digits" in live.model_names()


def _log_since(live: Any, offset: int) -> str:
    with live.worker_log.open("rb") as file:
        file.seek(offset)
        return str(file.read().decode())


def _push(live: Any, *elements: bytes | str) -> None:
    with live.redis() as client:
        client.lpush(live.settings.queue, *elements)


def _quarantined(live: Any) -> list[dict[str, Any]]:
    found = live.answer("queue", "quarantine", "list")["quarantined"]
    assert isinstance(found, list)
    return found


def _submit(model: str) -> list[str]:
    return ["submit", "good.npy", "--model", model]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the right kind."""
    folder = tmp_path_factory.mktemp("images")
    np.save(folder / "good.npy", np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8))
    return folder
