"""A worker beside a queue that strangers write to: its jobs go on, at a stated cost.

`pytest -rP -m slow` shows the times and the memory.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import Phase, given, settings

from fornada.queue.quarantine import MAX_ENTRIES, Quarantine

from ...deployment import TILE_ITEMS
from ...junk import ELEMENTS, EXAMPLES, FUTURE, bomb, envelope
from .conftest import ITEM_SHAPE, START_S

pytestmark = pytest.mark.slow

Deploy = Callable[..., tuple[Any, Callable[..., Any]]]
#: A shard is one predict call, so a job takes as long as its calls.
CALL_S = 0.2
SHARDS = 60
#: The most that a job may take beside a thousand messages of junk, in times of what it takes alone.
MOST_TIMES_AS_LONG = 1.5
#: The most memory that a message that unpacks to a gigabyte may cost.
BOMB_BYTES = 50 * 2**20


def elements(count: int) -> list[bytes]:
    """What a fuzzer finds to push."""
    found: list[bytes] = []

    @settings(max_examples=count, phases=[Phase.generate], database=None, deadline=None)
    @given(ELEMENTS)
    def find(element: bytes) -> None:
        found.append(element)

    while len(found) < count:
        find()
    return found[:count]


@pytest.fixture
def deployment(deploy: Deploy) -> Any:
    """A worker that is up, which takes a fifth of a second for a call."""
    deployment, start = deploy(delay_s=CALL_S, worker_threads=1)
    start()
    deployment.client.submit(np.zeros((1, *ITEM_SHAPE), np.uint8), model="m").wait(
        timeout_s=START_S
    )
    return deployment


def job_s(deployment: Any, push: Callable[["redis.Redis", int], object]) -> float:
    """How long a job of twelve seconds takes while `push` pushes, four times."""
    images = np.random.default_rng(5).integers(0, 256, (SHARDS * TILE_ITEMS, *ITEM_SHAPE), np.uint8)
    with deployment.redis() as client:
        push(client, 0)
        began_s = time.monotonic()
        job = deployment.client.submit(
            images, model="m", items_per_shard=TILE_ITEMS, idempotency_key=f"job-{began_s}"
        )
        for quarter in range(1, 4):
            while job.status().shards_done < quarter * SHARDS // 4:
                time.sleep(0.05)
            push(client, quarter)
        right = deployment.is_right(job, images)
        took_s = time.monotonic() - began_s
    assert right
    return took_s


def test_a_thousand_junk_messages_end_no_process_and_cost_little_time(deployment: Any) -> None:
    junk = [*EXAMPLES.values(), *elements(1000 - len(EXAMPLES))]
    pids = deployment.worker_pids()

    def times_as_long() -> float:
        undisturbed_s = job_s(deployment, lambda _client, _quarter: None)
        disturbed_s = job_s(
            deployment,
            lambda client, quarter: client.lpush(
                deployment.settings.queue, *junk[quarter * 250 : (quarter + 1) * 250]
            ),
        )
        print(f"a job without junk {undisturbed_s:.1f} s, with {disturbed_s:.1f} s")  # noqa: T201 - told as well
        return disturbed_s / undisturbed_s

    # Twice at most, since other work may slow down one job and not the other.
    assert times_as_long() <= MOST_TIMES_AS_LONG or times_as_long() <= MOST_TIMES_AS_LONG
    assert pids == deployment.worker_pids()
    assert len(EXAMPLES) <= len(Quarantine.from_settings(deployment.settings).entries())


def test_thirty_thousand_messages_for_later_are_held_by_no_worker(
    deployment: Any, wait_until: Callable[..., None]
) -> None:
    later = json.dumps(envelope(headers={"eta": FUTURE}))
    pids = deployment.worker_pids()

    took_s = job_s(
        deployment,
        lambda client, _quarter: client.lpush(deployment.settings.queue, *[later] * 7500),
    )

    with deployment.redis() as client:
        wait_until(lambda: not client.llen(deployment.settings.queue), START_S)
        assert 0 == client.hlen("fornada:unacked")
    assert pids == deployment.worker_pids()
    assert MAX_ENTRIES == len(Quarantine.from_settings(deployment.settings).entries())
    print(f"a job beside 30,000 messages with an eta {took_s:.1f} s")  # noqa: T201 - told, not asserted


def test_a_message_that_unpacks_to_a_gigabyte_costs_little_memory(
    deployment: Any, wait_until: Callable[..., None]
) -> None:
    (pid,) = deployment.worker_pids()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before_bytes = peak_bytes(pid)

    with deployment.redis() as client:
        # Within and beyond the size of a message.
        client.lpush(deployment.settings.queue, bomb(750), bomb(1100))
        wait_until(lambda: not client.llen(deployment.settings.queue))
    kept = Quarantine.from_settings(deployment.settings)
    wait_until(lambda: 2 == len(kept.entries()))

    grown_bytes = peak_bytes(pid) - before_bytes
    assert grown_bytes < BOMB_BYTES
    assert [pid] == deployment.worker_pids()
    print(f"two messages that unpack to 2 GB cost {grown_bytes / 2**20:.1f} MiB")  # noqa: T201 - told, not asserted


def peak_bytes(pid: int) -> int:
    """The most memory that the process has held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def test_a_queue_that_is_no_list_for_a_while_ends_no_process(
    deployment: Any, wait_until: Callable[..., None]
) -> None:
    pids = deployment.worker_pids()
    images = np.zeros((3, *ITEM_SHAPE), np.uint8)

    # When every key that kombu uses is something else
    with deployment.redis() as client:
        queue = deployment.settings.queue
        for key in (queue, "fornada:unacked", "fornada:unacked-index", "fornada:unacked-mutex"):
            client.delete(key)
            client.set(key, "x")
        wait_until(lambda: "queue not read" in deployment.log())
        client.delete(queue)
        assert [] == list(client.scan_iter("*kombu*"))

    # Then the worker goes on once the queue can be one again.
    job = deployment.client.submit(images, model="m")
    assert deployment.is_right(job, images)
    assert pids == deployment.worker_pids()
    assert "Connection to broker lost" not in deployment.log()
