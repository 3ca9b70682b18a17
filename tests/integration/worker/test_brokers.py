"""Jobs on brokers as operators run them: with a restricted user, behind Sentinel."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from pydantic import SecretStr

from fornada.jobs.outcome import JobState
from fornada.local.ports import HOST, free_port
from fornada.redis_server.refusals import RIGHTS

from ..brokers.conftest import StartServer, start_server
from .conftest import START_S

__all__ = ["start_server"]

Deploy = Callable[..., tuple[Any, Callable[..., Any]]]


def test_a_user_with_the_rights_of_the_recipe_submits_works_and_calls(
    deploy: Deploy, as_user: Callable[..., SecretStr], images: np.ndarray
) -> None:
    deployment, start = deploy(redis_url=as_user(RIGHTS))
    start()

    small = deployment.client.submit(images[:5], model="m")
    large = deployment.client.submit(images, model="m", items_per_shard=10)

    assert deployment.is_right(small, images[:5])
    assert deployment.is_right(large, images)
    np.testing.assert_array_equal(
        deployment.model.predict(images[:3]),
        deployment.client.predict(images[:3], model="m", timeout_s=START_S),
    )
    deployment.client.backlog()
    assert 0 == deployment.run("doctor").returncode


@pytest.mark.slow
def test_nothing_is_lost_when_sentinel_replaces_a_master_under_load(
    start_server: StartServer,
    deploy: Deploy,
    images: np.ndarray,
    wait_until: Callable[..., None],
    tmp_path: Path,
) -> None:
    # given a master, its replica, and a Sentinel that may replace it
    ports = [free_port(), free_port(), free_port()]
    master = start_server(ports[0], "requirepass pw", "masterauth pw")
    start_server(ports[1], "requirepass pw", "masterauth pw", f"replicaof {HOST} {ports[0]}")
    start_server(
        ports[2],
        f"sentinel monitor main {HOST} {ports[0]} 1",
        "sentinel auth-pass main pw",
        "sentinel down-after-milliseconds main 1000",
        "sentinel failover-timeout main 3000",
        sentinel=True,
    )
    sentinel = redis.Redis(HOST, ports[2], decode_responses=True)
    with sentinel:
        wait_until(lambda: sentinel.sentinel_slaves("main"), timeout_s=30)
    deployment, start = deploy(
        redis_url=SecretStr(f"sentinel://:pw@{HOST}:{ports[2]}/main/0"), delay_s=0.05, lease_s=5
    )
    start()
    start()

    # when the master is killed between jobs that come and go
    jobs = [deployment.client.submit(images, model="m", items_per_shard=10) for _ in range(4)]
    wait_until(lambda: jobs[0].status().items_done, timeout_s=START_S)
    master.kill()

    # then those that were accepted end, right, and so do later ones
    for job in jobs:
        assert deployment.is_right(job, images)
    with sentinel:
        wait_until(
            lambda: (HOST, ports[1]) == sentinel.sentinel_get_master_addr_by_name("main"),
            timeout_s=30,
        )
    assert deployment.is_right(deployment.client.submit(images, model="m"), images)
    assert JobState.SUCCEEDED == jobs[0].status().state
    assert not re.search("Traceback", deployment.log())
