"""A worker whose store is far away has more shards in hand than one whose store is near."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from fornada.jobs.outcome import JobState
from worker.compute.thread_choice import least_threads

from .conftest import ITEM_SHAPE

#: TensorFlow's import and the model's load, on a busy machine.
START_S = 90.0
SHARDS = 100


@pytest.mark.parametrize("given", [None, 5], ids=["chosen", "as the settings say"])
def test_a_worker_takes_as_many_messages_as_keep_its_engine_from_waiting(
    given: int | None, deploy: Callable[..., Any], wait_until: Callable[..., None]
) -> None:
    # given a store for which a shard waits longer than it computes
    deployment, _ = deploy(max_inline_bytes=0, worker_threads=given)
    with (deployment.folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("far_worker.py"))],
            env=deployment.environ,
            stdout=log,
            stderr=log,
        )
    held: list[int] = []
    try:
        # when there is more to do than it can take
        job = deployment.client.submit(
            np.zeros((SHARDS, *ITEM_SHAPE), np.uint8), model="m", items_per_shard=1
        )
        with redis.Redis.from_url(deployment.settings.redis_url.get_secret_value()) as client:

            def is_over() -> bool:
                held.append(client.hlen("unacked"))
                return job.status().ended

            wait_until(is_over, timeout_s=START_S)
    finally:
        worker.terminate()
        worker.wait(30)

    # then
    assert JobState.SUCCEEDED == job.status().state, deployment.log()
    chosen = _chosen(deployment.log())
    assert (given is None) == bool(chosen), deployment.log()
    assert (given or chosen[0]) == max(held), deployment.log()
    assert least_threads(1) < max(held)


def _chosen(log: str) -> list[int]:
    """What the worker says that it has come to."""
    lines = [json.loads(line) for line in log.splitlines() if "more shards at a time" in line]
    return [line["threads"] for line in lines]
