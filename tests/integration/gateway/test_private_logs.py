"""Nothing that came in over HTTP stands in the gateway's log, at any level."""

import json
import logging
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient

from fornada.formats.npy import to_npy
from fornada.logs import configure
from fornada.settings import Settings
from gateway.app import create_app
from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.rates import Rates
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from producer.client import Client
from producer.testing import in_memory_client

from ...submitted import found_in
from .conftest import CLASSES

#: Items that begin with it make a predict call fail, in words that quote them.
FAILS_ON = 251
PREDICT = "/v1/models/looks/predict"
#: Nobody answers.
FAILING = f"{PREDICT}?timeout_s=0.1"


def _predict(items: np.ndarray) -> np.ndarray:
    if (items[:, 0, 0] == FAILS_ON).any():
        raise ValueError(f"cannot predict {items.tolist()} {items.tobytes()!r}")
    return np.eye(3, dtype=np.float32)[items[:, 0, 0] % 3]


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of a model that quotes what it fails on."""
    with in_memory_client(
        model="looks", item_shape=[8, 8], classes=CLASSES, predict=_predict
    ) as client:
        yield client


def test_no_log_shows_what_was_sent(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a gateway that logs everything
    objects = client._models.objects
    identity = Identity(api_keys=ApiKeys(objects=objects), rates=Rates.in_memory())
    _, token = identity.api_keys.create("shop", scopes=list(Scope))
    deployment = Deployment.of(Settings(), objects=objects, client=client, identity=identity)
    caller = TestClient(
        create_app(deployment),
        base_url="http://127.0.0.1",
        headers={"Authorization": f"Bearer {token}"},
        raise_server_exceptions=False,
    )
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    configure(level="DEBUG", log_format="json")
    good, failing = np.random.default_rng(30).integers(2, 250, (2, 2, 8, 8), np.uint8)
    failing[:, 0, 0] = FAILS_ON
    word = np.random.default_rng(31).bytes(30).hex()
    submitted = {"good": good.tobytes(), "failing": failing.tobytes(), "word": word.encode()}

    # when it comes in on every way
    jobs = [
        caller.post("/v1/jobs", json={"model": "looks", "input": {"type": "inline", "items": rows}})
        for rows in (good.tolist(), failing.tolist(), [[word]])
    ]
    calls = [
        caller.post(path, content=content, headers={"Content-Type": kind})
        for path, content, kind in (
            (PREDICT, json.dumps({"items": good.tolist()}), "application/json"),
            (PREDICT, to_npy(good), "application/x-npy"),
            (FAILING, json.dumps({"items": failing.tolist()}), "application/json"),
            (FAILING, to_npy(failing), "application/x-npy"),
            (PREDICT, json.dumps({"items": [[word]]}), "application/json"),
            (PREDICT, json.dumps({"items": good.tolist(), word: word}), "application/json"),
            (PREDICT, f'{{"items": ["{word}', "application/json"),
            (PREDICT, word, "application/x-npy"),
            (PREDICT, word, "image/png"),
            (PREDICT, word, "application/vnd.safetensors"),
            (PREDICT, word, "text/plain"),
        )
    ]

    # then no log has any of it
    assert [202, 500, 422] == [job.status_code for job in jobs]
    assert [200, 200, 504, 504] == [call.status_code for call in calls[:4]]
    assert {422} >= {call.status_code for call in calls[4:]} - {400, 415}
    log = capsys.readouterr().err
    assert [] == found_in(log.encode(), submitted)
    # And it says what happened.
    assert "request failed" in log
