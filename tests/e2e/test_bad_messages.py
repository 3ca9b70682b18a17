"""Bad messages that only a worker can detect: it reports them and continues."""

import base64
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada import keys


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


_REFUSED_MESSAGES = [
    ({"schema_version": 1, "job_id": "x", "shard": 0, "colour": "red"}, "colour: Extra"),
    ({"schema_version": 4, "job_id": "x", "shard": 0}, "schema_version: Input should be 1, 2 or 3"),
    ({"schema_version": 1, "job_id": "../x", "shard": 0}, "job_id: String should match"),
    ({"schema_version": 1, "job_id": "x", "shard": "0"}, "shard: Input should be a valid"),
    ({"schema_version": 1, "job_id": "no-such-job", "shard": 0}, "no job 'no-such-job'"),
    (["x", 0], "body: Input should be"),
]


def test_messages_that_cannot_be_obeyed(live: Any, wait_until: Callable[..., None]) -> None:
    for message, complaint in _REFUSED_MESSAGES:
        before = live.worker_log.stat().st_size

        _push(live, _envelope([[message], {}, {}]))

        wait_until(lambda: complaint in _log_since(live, before), timeout_s=60)  # noqa: B023 - called before the next
        assert "message dropped" in _log_since(live, before)
    wait_until(lambda: _nothing_in_queue(live), timeout_s=60)


_DAMAGED_ENVELOPES: list[dict[str, Any]] = [
    {"task": "fornada.no_such_task"},
    {"content_type": "application/x-python-serialize"},
    {"body": [[], {}, {}]},
    {"body": {"not": "a list"}},
    {"body": None},
    {"message_id": None},
    {"without": "body"},
    {"without": "content-type"},
]


def test_envelopes_that_celery_cannot_open(
    live: Any, folder: Path, wait_until: Callable[..., None]
) -> None:
    try:
        for damage in _DAMAGED_ENVELOPES:
            _push(live, _envelope(**{"body": [[{"shard": 0}], {}, {}], **damage}))
            wait_until(lambda: _nothing_in_queue(live), timeout_s=60)
        _check_worker_goes_on(live, folder)
    finally:
        # One that stays in the queue would stay for the other tests.
        with live.redis() as client:
            client.delete(live.settings.queue, "fornada:unacked", "fornada:unacked-index")


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


def _push(live: Any, envelope: dict[str, Any]) -> None:
    with live.redis() as client:
        client.lpush(live.settings.queue, json.dumps(envelope))


def _nothing_in_queue(live: Any) -> bool:
    with live.redis() as client:
        return not client.llen(live.settings.queue) and not client.hlen("fornada:unacked")


def _envelope(
    body: object,
    *,
    task: str = keys.TASK_RUN_SHARD,
    content_type: str = "application/json",
    message_id: str | None = "6f4c1a5e-3f0b-4c2e-9d53-0a6a3f1f6c1d",
    without: str | None = None,
) -> dict[str, Any]:
    """One element of the queue, as docs/reference/messages.md says, or with a part left out."""
    ids = {} if message_id is None else {"id": message_id, "root_id": message_id}
    envelope = {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": content_type,
        "headers": {"lang": "sh", "task": task, **ids},
        "properties": {
            "correlation_id": message_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "fornada"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    return {part: value for part, value in envelope.items() if part != without}


def _submit(model: str) -> list[str]:
    return ["submit", "good.npy", "--model", model]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the right kind."""
    folder = tmp_path_factory.mktemp("images")
    np.save(folder / "good.npy", np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8))
    return folder
