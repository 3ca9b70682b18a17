"""Nothing that was submitted stands in a log, at any level, on any way in."""

import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from fornada.formats.npy import to_npy
from fornada.local.stack import Stack
from fornada.queue.quarantine import Quarantine
from model_store.store import ModelStore
from model_store.testing import publish_for_test

from ...deployment import CLASSES
from ...junk import BYTES, body_of, envelope
from ...submitted import found_in
from .conftest import ITEM_SHAPE, START_S

#: Items that begin with it make a predict call fail.
FAILS_ON = 251

Deploy = Callable[..., Any]


def test_the_ways_of_writing_are_found() -> None:
    data = {"x": bytes(range(100, 160))}
    text = base64.b64encode(b"a" + data["x"])

    for log in (data["x"], repr(data["x"]).encode(), data["x"].hex().encode(), text):
        assert found_in(b"before " + log + b" after", data)
    assert found_in(base64.b64encode(b"[[" + text), data)
    assert found_in(str(list(data["x"])).encode(), data)
    assert [] == found_in(b"nothing of it", data)


def test_no_log_shows_what_was_submitted(
    deploy: Deploy, servers: Stack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given a producer and a worker that log everything
    caplog.set_level(logging.DEBUG)
    deployment, start = deploy(log_level="DEBUG", log_format="json")
    start()
    publish_for_test(
        ModelStore(objects=deployment.objects),
        name="fails",
        item_shape=ITEM_SHAPE,
        classes=CLASSES,
        fails_on=FAILS_ON,
    )
    random = np.random.default_rng(30)
    items = {
        name: random.integers(2, 250, (count, *ITEM_SHAPE), np.uint8)
        for name, count in {
            "small": 3,
            "many": 2,
            "large": 3000,
            "failing": 4,
            "called": 2,
            "failing call": 2,
            "command": 5,
            "junk": 1,
            "photograph": 1,
        }.items()
    }
    items["failing"][1, 0, 0] = items["failing call"][0, 0, 0] = FAILS_ON
    submitted = {name: array.tobytes() for name, array in items.items()}
    submitted["what a photograph says"] = random.bytes(60).hex().encode()
    client = deployment.client

    # when it comes in on every way
    jobs = [
        client.submit(items["small"], model="m"),
        *client.submit_many([items["many"][:1], items["many"][1:]], model="m"),
        client.submit(items["large"], model="m", items_per_shard=1000),
        client.submit(items["failing"], model="fails"),
        client.submit(_photograph(tmp_path, items["photograph"][0], submitted), model="m"),
    ]
    client.predict(items["called"], model="m", timeout_s=START_S)
    client.predict(items["failing call"], model="fails", errors="nan", timeout_s=START_S)
    (tmp_path / "items.npy").write_bytes(to_npy(items["command"]))
    command = deployment.run("submit", str(tmp_path / "items.npy"), "--model", "m", "--wait")
    assert 0 == command.returncode, command.stderr
    with deployment.redis() as redis:
        redis.lpush(deployment.settings.queue, *_junk(submitted["junk"]))
    for job in jobs:
        job.wait(timeout_s=START_S)
    # Junk has been read before this one.
    client.submit(items["small"] + 1, model="m").wait(timeout_s=START_S)

    # then no log has any of it
    quarantine = Quarantine.from_settings(deployment.settings)
    logs = {
        "worker": (tmp_path / "worker.log").read_bytes(),
        "producer": caplog.text.encode(),
        "command": command.stderr.encode(),
        # Of these the log has one line.
        "reasons": str([entry.reason for entry in quarantine.entries()]).encode(),
        **{path.name: path.read_bytes() for path in servers.logs_dir.iterdir()},
    }
    assert [] == [
        (where, *found) for where, log in logs.items() for found in found_in(log, submitted)
    ]
    # And they say what happened.
    assert len(_junk(b"")) - 1 == len(quarantine.entries())
    assert b"shard finished" in logs["worker"]
    assert b"message quarantined" in logs["worker"]


def _photograph(folder: Path, pixels: np.ndarray, submitted: dict[str, bytes]) -> Path:
    """A PNG file of the pixels, which says something."""
    said = PngImagePlugin.PngInfo()
    said.add_text("Comment", submitted["what a photograph says"].decode())
    path = folder / "photograph.png"
    Image.fromarray(pixels).save(path, pnginfo=said)
    submitted["file"] = path.read_bytes()
    return path


def _junk(data: bytes) -> list[bytes]:
    """Elements that carry `data` where it does not belong, or more than they may."""
    text = base64.b64encode(data).decode()
    message = {"schema_version": 2, "job_id": "x", "shard": 0}
    return [
        data,
        json.dumps(text).encode(),
        json.dumps(envelope({**message, "manifest": text * 2000})).encode(),
        json.dumps(envelope({**message, text[:40]: text})).encode(),
        json.dumps(envelope({**message, "job_id": f"/{text}"})).encode(),
        json.dumps(envelope(body_of(message, keywords={"x": text}))).encode(),
        json.dumps(envelope(headers={"eta": text, "argsrepr": text})).encode(),
        json.dumps(envelope(properties={"body_encoding": text})).encode(),
        BYTES["too large"].replace(b"x" * 100, data[:100]),
        json.dumps(envelope({**message, "manifest": text})).encode(),
    ]
