"""Real workers that hang, lose their broker or are told to stop: nothing is lost."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import redis

from fornada.local.children import Children
from fornada.local.stack import Stack
from fornada.local.valkey import start_valkey
from worker.host.supervisor import worker_command

from .conftest import START_S

Start = Callable[..., Any]
Wait = Callable[..., None]
#: How long the watchdog of `_QUICK` and `_DEAF` waits.
STUCK_AFTER_S = 5.0

_SUPERVISE = """
import sys
from pathlib import Path
from fornada.events import LOGGED
from worker.host.supervisor import Supervisor
cache_dir, stale_after_s, *command = sys.argv[1:]
supervisor = Supervisor(
    command,
    environs=[{}],
    cache_dir=Path(cache_dir),
    stale_after_s=float(stale_after_s),
    events=LOGGED,
)
sys.exit(supervisor.run())
"""
_QUICK = f"""
import sys
from worker.host import watchdog
from worker.__main__ import main
watchdog.STUCK_AFTER_S = {STUCK_AFTER_S}
sys.exit(main())
"""
# Like a consumer that was lost in a reconnect: the loop turns, and nothing waits for messages.
_DEAF = f"""
import sys
from pathlib import Path
from celery import bootsteps
from worker import app
from worker.host import watchdog
from worker.__main__ import main
watchdog.STUCK_AFTER_S = {STUCK_AFTER_S}
create_app = app.create_app
is_deaf = Path(sys.argv.pop(1))

class Deafness(bootsteps.StartStopStep):
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer):
        consumer.timer.call_after(0.1, self.deafen, (consumer,))

    def deafen(self, consumer):
        consumer.cancel_task_queue(consumer.app.conf.task_default_queue)
        is_deaf.touch()

def create_deaf_app(settings, **given):
    made = create_app(settings, **given)
    made.steps["consumer"].add(Deafness)
    return made

if not is_deaf.exists():
    app.create_app = create_deaf_app
sys.exit(main())
"""
# Fetches more than it has threads for, and writes a line for each bundle that it begins.
_GREEDY = """
import sys
from worker import app
from worker.__main__ import main
from worker.shards.service import ShardService
create_app, run_bundle = app.create_app, ShardService.run_bundle

def create_greedy_app(settings, **given):
    made = create_app(settings, **given)
    made.conf.worker_prefetch_multiplier = 3
    return made

def run_noted(self, messages):
    with open(BEGUN, "a") as begun:
        begun.write("begun\\n")
    return run_bundle(self, messages)

app.create_app = create_greedy_app
ShardService.run_bundle = run_noted
sys.exit(main())
"""


class _Broker:
    """The Valkey of a stack, to be taken away and given back on the same port, data and all."""

    def __init__(self, stack: Stack, children: Children) -> None:
        self._stack = stack
        self._children = children
        self._url = stack.settings.redis_url.get_secret_value()

    def kill(self) -> None:
        with redis.Redis.from_url(self._url) as client:
            pid = int(client.info("server")["process_id"])
        os.kill(pid, signal.SIGKILL)

    def start(self) -> None:
        parts = urlsplit(self._url)
        assert parts.port is not None
        assert parts.password is not None
        start_valkey(
            port=parts.port,
            password=parts.password,
            data_dir=self._stack.data_dir / "valkey",
            log_path=self._stack.logs_dir / "valkey-restarted.log",
            children=self._children,
        )

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """Killed while the block runs."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Stopped while the block runs: connections stay, and nothing answers."""
        with redis.Redis.from_url(self._url) as client:
            pid = int(client.info("server")["process_id"])
        with _stopped(pid):
            yield


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Servers of this module's own: it breaks them."""
    with Stack(data_dir=tmp_path_factory.mktemp("broken"), environ={**os.environ}) as stack:
        yield stack


@pytest.fixture(scope="module")
def broker(servers: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Broker]:
    folder = tmp_path_factory.mktemp("restarted")
    with Children(record_path=folder / "restarted.json", signs_dir=folder / "none") as children:
        yield _Broker(servers, children)


@pytest.fixture
def supervise() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a supervisor of one process, which is soon taken for stale, on a deployment."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(deployment: Any, command: list[str]) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", _SUPERVISE, str(deployment.folder), "15", *command]
        with (deployment.folder / "worker.log").open("ab") as log:
            begun.append(subprocess.Popen(argv, env=deployment.environ, stdout=log, stderr=log))
        return begun[-1]

    yield begin
    for process in begun:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="session")
def images(images: np.ndarray) -> np.ndarray:
    return images[:60]


def _script(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments), "--threads", "1"]


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _warm(deployment: Any, images: np.ndarray) -> int:
    """Have the worker load the model; return its process id."""
    deployment.probabilities(deployment.client.submit(images[:3], model="m"))
    (pid,) = deployment.worker_pids()
    return int(pid)


def test_a_consumer_that_takes_nothing_is_replaced_and_the_job_is_done(
    deploy: Start, supervise: Start, images: np.ndarray, tmp_path: Path, wait_until: Wait
) -> None:
    # given a worker whose event loop turns, and which has ceased to consume
    deployment, _ = deploy(lease_s=1.0, reconcile_interval_s=0.5, requeue_after_s=1.0)
    is_deaf = tmp_path / "is-deaf"
    supervise(deployment, _script(_DEAF, is_deaf))
    wait_until(is_deaf.exists, START_S)
    (deaf,) = deployment.worker_pids()

    job = deployment.client.submit(images, model="m", items_per_shard=5)

    # then another is started, and does the work
    assert deployment.is_right(job, images)
    assert [deaf] != deployment.worker_pids()
    assert "no message taken from a queue that has some" in deployment.log()


@pytest.mark.slow
def test_a_queue_full_of_messages_of_another_kind_is_no_reason_to_end(
    deploy: Start, supervise: Start, images: np.ndarray, wait_until: Wait
) -> None:
    # given a worker, and more messages of no task than it can drop
    deployment, _ = deploy(log_level="ERROR")
    supervise(deployment, _script(_QUICK))
    pid = _warm(deployment, images)
    properties = {"delivery_tag": "1", "delivery_info": {"exchange": "", "routing_key": ""}}
    strange = json.dumps({"body": "{}", "headers": None, "properties": properties})
    queue = deployment.settings.queue
    over_s = time.monotonic() + 3 * STUCK_AFTER_S

    # when they keep coming for longer than its watchdog waits
    with deployment.redis() as client:

        def feed() -> bool:
            if client.llen(queue) < 20_000:
                client.lpush(queue, *[strange] * 5_000)
            return time.monotonic() > over_s

        wait_until(feed, 60)
        assert client.llen(queue)
        client.delete(queue)

    # then the same process takes the next job
    job = deployment.client.submit(images, model="m", items_per_shard=5)
    assert deployment.is_right(job, images)
    assert [pid] == deployment.worker_pids()


@pytest.mark.slow
def test_a_worker_that_is_wholly_stopped_is_replaced_and_the_job_is_done(
    deploy: Start, supervise: Start, images: np.ndarray, wait_until: Wait
) -> None:
    # given a worker that is stopped in the middle of a job, of which 32 shards are one message
    images = np.tile(images, (4, 1, 1))
    deployment, _ = deploy(delay_s=0.05, lease_s=1.0, reconcile_interval_s=0.5, requeue_after_s=1.0)
    supervise(deployment, worker_command(threads=1))
    pid = _warm(deployment, images)
    with _stopped(pid):
        job = deployment.client.submit(images, model="m", items_per_shard=1)
    wait_until(lambda: job.status().shards_done >= 5, START_S)
    os.kill(pid, signal.SIGSTOP)
    assert job.status().shards_done < len(images)

    # then it is killed, and another does the rest
    assert deployment.is_right(job, images)
    assert "worker shows no life, killing it" in deployment.log()
    assert pid not in deployment.worker_pids()


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["gone", "silent"])
def test_a_broker_that_is_away_for_longer_than_every_limit_costs_no_restart(
    kind: str, deploy: Start, broker: _Broker, images: np.ndarray, wait_until: Wait
) -> None:
    # given the limits of production: 60 s for the watchdog, 90 s for a sign of life
    deployment, start = deploy()
    start()
    pid = _warm(deployment, images)
    with getattr(broker, kind)():
        over_s = time.monotonic() + 110
        wait_until(lambda: time.monotonic() > over_s, 200)
        assert 0 == deployment.run("worker", "--health").returncode

    job = deployment.client.submit(images, model="m", items_per_shard=5)

    assert deployment.is_right(job, images)
    assert [pid] == deployment.worker_pids()


@pytest.mark.slow
def test_a_worker_that_starts_before_its_broker_waits_for_it(
    deploy: Start, broker: _Broker, images: np.ndarray, wait_until: Wait
) -> None:
    deployment, start = deploy()
    with broker.gone():
        start()
        wait_until(deployment.worker_pids, START_S)
        (pid,) = deployment.worker_pids()
        assert 0 == deployment.run("worker", "--health").returncode

    job = deployment.client.submit(images, model="m", items_per_shard=5)

    assert deployment.is_right(job, images)
    assert [pid] == deployment.worker_pids()


def test_a_worker_whose_broker_is_away_can_be_stopped(
    deploy: Start, broker: _Broker, images: np.ndarray, wait_until: Wait
) -> None:
    deployment, start = deploy()
    worker = start()
    _warm(deployment, images)
    with broker.gone():
        wait_until(lambda: "Trying to re-establish" in deployment.log(), 30)

        worker.send_signal(signal.SIGTERM)

        assert 0 == worker.wait(60)
    assert [] == deployment.worker_pids()


@pytest.mark.slow
def test_a_worker_whose_broker_is_silent_can_be_stopped(
    deploy: Start, broker: _Broker, images: np.ndarray
) -> None:
    deployment, start = deploy()
    worker = start()
    _warm(deployment, images)
    with broker.silent():
        worker.send_signal(signal.SIGTERM)

        assert 0 == worker.wait(60)
    assert [] == deployment.worker_pids()
    assert "did not end in time, ending at once" in deployment.log()


def test_two_sigterms_finish_what_is_at_work_and_give_back_what_was_only_fetched(
    deploy: Start, supervise: Start, servers: Stack, images: np.ndarray, wait_until: Wait
) -> None:
    # given a worker with one shard at work, for as long as the store keeps it waiting
    deployment, start = deploy(requeue_after_s=3600.0, worker_threads=1, max_inline_bytes=0)
    begun = deployment.folder / "begun"
    worker = supervise(deployment, _script(f"BEGUN = {str(begun)!r}\n{_GREEDY}"))
    pid = _warm(deployment, images)
    sign = next((deployment.folder / "workers").glob("*.json"))
    client = deployment.redis()
    store = contextlib.ExitStack()
    with _stopped(pid):
        job = deployment.client.submit(images, model="m", items_per_shard=10)
        store.enter_context(_stopped(servers._services[1].pid))
    with client, store:
        # and two more that it has fetched
        queue = deployment.settings.queue
        wait_until(lambda: (3, 3) == (client.hlen("fornada:unacked"), client.llen(queue)))
        wait_until(lambda: 2 == len(begun.read_text().splitlines()))

        # when supervisor and process are told to stop, twice, and the process has shown life since
        for _ in range(2):
            worker.send_signal(signal.SIGTERM)
            os.kill(pid, signal.SIGTERM)
            before_ns = sign.stat().st_mtime_ns
            wait_until(lambda before_ns=before_ns: sign.stat().st_mtime_ns > before_ns, 30)
        assert worker.poll() is None
        store.close()

        # then the one is done, and the others are in the queue again
        assert 0 == worker.wait(60), deployment.log()
        assert 1 == job.status().shards_done
        assert (5, 0) == (client.llen(queue), client.hlen("fornada:unacked"))
        assert [] == list(client.scan_iter("fornada:lease:*"))

    # and another worker does them
    start()
    assert deployment.is_right(job, images)
