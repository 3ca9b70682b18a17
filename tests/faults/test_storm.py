"""A storm: junk, forgeries, clock steps, a breaking store and dying workers, all at once."""

import contextlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from fornada.jobs.outcome import JobFinal, ShardOutcome
from fornada.local import valkey
from fornada.local.children import Children
from fornada.local.stack import Stack
from fornada.settings import Settings
from fornada.tensors import ImagePreprocessing
from model_store.store import ModelStore
from model_store.testing import publish_for_test
from producer.client import Client

from ..deployment import CLASSES, end_worker, environ_of, own_environ, start_worker, with_new_bucket
from .rig.checker import OutcomeHistory
from .rig.deployment import (
    ENVIRON,
    ITEM_SHAPE,
    WORKERS,
    Deployment,
    Predict,
    repeatedly,
)
from .rig.faked_time import FakedClock, skip_without_faketime
from .rig.forger import JUNK_SHARE, Forger
from .rig.processes import left_of, processes_of
from .rig.s3_proxy import BreakOff, LoseAnswer, Refuse, Rule, S3Proxy
from .rig.submissions import Submissions

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(1500),
]

SEED = 20
#: Twice: 15 minutes in all.
STORM_S = 450
#: After it; longer than anything that Redis can hold up until the store is asked.
CALM_WITHIN_S = 300
HOUR_S = 3600
#: An item that begins with this number has no result.
NAN_ON = 200

#: What the store does to some requests.
STORE_FAULTS: list[Callable[[int], Rule]] = [
    lambda times: Refuse(status=500, code="InternalError", times=times),
    lambda times: Refuse(status=503, code="SlowDown", times=times),
    lambda times: Refuse(status=403, code="AccessDenied", times=times),
    lambda times: Refuse(status=403, code="SignatureDoesNotMatch", method="PUT", times=times),
    lambda times: Refuse(status=400, code="RequestTimeout", times=times),
    lambda times: BreakOff(method="GET", after_bytes=60, reset=True, times=times),
    lambda times: BreakOff(method="GET", after_bytes=60, times=times),
    lambda times: LoseAnswer(method="PUT", key="/(outcome|data|final)", times=times),
]


@dataclass(frozen=True)
class _Place:
    """The part of a stack that a `Deployment` uses."""

    settings: Settings
    data_dir: Path


class _FastDeployment(Deployment):
    """Workers of the engine `test`, which start in a second."""

    def publish(
        self,
        name: str,
        *,
        seed: int,
        image: ImagePreprocessing | None = None,
    ) -> Predict:
        return publish_for_test(
            ModelStore(objects=self.objects),
            name=name,
            item_shape=ITEM_SHAPE,
            classes=CLASSES,
            seed=seed,
            delay_s=0.05,
            nan_on=NAN_ON,
        )


@dataclass(frozen=True)
class _Sea:
    """A deployment whose clients and workers reach the store through the proxy."""

    deployment: Deployment
    proxy: S3Proxy
    clock: FakedClock
    client: Client
    #: Every version of outcomes and ends that the store took.
    history: OutcomeHistory
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "worker.log").read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log lines of events whose text begins so."""
        return [json.loads(each) for each in self.log.splitlines() if f'"event": "{name}' in each]

    def worker_pids(self) -> list[int]:
        """Live worker processes, ours beyond doubt: a number may be another process's by now."""
        return sorted(self.deployment.worker_pids() & processes_of(self.folder).keys())


@pytest.fixture(params=[True, False], ids=["deployment keys", "no keys"])
def sea(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[_Sea]:
    """Valkey with a clock to set, rclone behind the proxy, three workers, one supervisor."""
    skip_without_faketime()
    clock = FakedClock(tmp_path, program=valkey.valkey_binary())
    threads = set(threading.enumerate())
    with contextlib.ExitStack() as left:
        patch = left.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(valkey, "valkey_binary", lambda: str(clock.wrapper))
        stack = left.enter_context(Stack(data_dir=tmp_path / "stack", environ=own_environ()))
        direct = _settings(stack, tmp_path, keyed=request.param)
        assert direct.s3_endpoint_url is not None
        proxy = left.enter_context(S3Proxy(direct.s3_endpoint_url))
        restarted = Children(record_path=tmp_path / "restarted", signs_dir=tmp_path / "none")
        deployment = _FastDeployment(_Place(direct, tmp_path), restarted=restarted)  # type: ignore[arg-type] - of a stack it needs no more
        left.callback(deployment.redis.close)
        history = OutcomeHistory(deployment.objects)
        proxy.on_put = lambda path, body: history.remember(path.split("/", 2)[2], body)
        through = direct.model_copy(update={"s3_endpoint_url": proxy.url})
        client = left.enter_context(Client.from_settings(through))
        log = tmp_path / "worker.log"
        process = start_worker(environ_of(through), log, "--processes", str(WORKERS))
        left.callback(end_worker, process, deployment.worker_pids)
        yield _Sea(deployment, proxy, clock, client, history, tmp_path)
    assert [] == proxy.errors
    assert {} == left_of(tmp_path)
    assert [] == [thread for thread in threading.enumerate() if thread not in threads]


def test_a_storm_loses_doubles_and_forges_nothing(
    sea: _Sea, wait_until: Callable[..., None]
) -> None:
    # given
    sea.deployment.wait_until_ready(wait_until)
    jobs = Submissions(sea.deployment, sea.client, random.Random(SEED))
    nemesis = _Nemesis(sea, random.Random(SEED + 1))
    redis_url = sea.deployment.settings.redis_url.get_secret_value()
    others = redis.Redis.from_url(redis_url)
    forger = Forger(others, queue=sea.deployment.queue, chance=random.Random(SEED + 2))

    def forge() -> None:
        # Its connections are cut as well, and one lie may lie in the way of another.
        with contextlib.suppress(redis.RedisError):
            forger.push_junk(jobs.any_open().id)
            forger.forge(jobs.any_open().manifest)
            forger.forge_creation(jobs.next_id)

    # when
    jobs.submit_some()
    with others, repeatedly(forge, interval_s=0.3), repeatedly(nemesis.act, interval_s=0.7):
        ends_at = time.monotonic() + STORM_S
        while time.monotonic() < ends_at:
            jobs.submit_some()
            time.sleep(0.5)
        # A worker files each piece of junk in a list too.
        pushed = forger.pushed_count() - forger.junk_count
    nemesis.calm()

    # then
    calmed_at = time.monotonic()
    while lost := jobs.without_end():
        if time.monotonic() > calmed_at + CALM_WITHIN_S:
            break
        time.sleep(1)
    calm_s = time.monotonic() - calmed_at
    ends, wrong = jobs.ends(), jobs.wrong()
    doubled, rewritten = _doubled(sea.history)
    # Measured.
    print(f"seed {SEED}, {STORM_S} s, pushed {pushed}, of these junk {forger.junk_count}")  # noqa: T201
    print(f"lies {dict(forger.written)}\nfaults {dict(nemesis.acts)}")  # noqa: T201
    print(f"accepted {len(jobs.accepted)}, refused {dict(jobs.refused)}, ended {dict(ends)}")  # noqa: T201
    print(f"calm after {calm_s:.0f} s, written again alike: {rewritten}")  # noqa: T201
    print(f"lost {lost}\ndoubled {doubled}\nwrong {wrong}")  # noqa: T201
    assert forger.junk_count >= JUNK_SHARE * pushed
    assert set() == lost
    assert {} == wrong
    assert [] == doubled
    assert "unexpectedly" not in sea.log
    # Nothing but the nemesis ended a process.
    assert {-signal.SIGKILL} == {ended["code"] for ended in sea.events("worker ended")}


class _Nemesis:
    """Breaks servers and workers, one of them at a time."""

    def __init__(self, sea: _Sea, chance: random.Random) -> None:
        self._sea = sea
        self._chance = chance
        #: What it did, by kind.
        self.acts: Counter[str] = Counter()
        #: Stopped process → when it goes on.
        self._stopped: dict[int, float] = {}

    def act(self) -> None:
        """Do one thing, or nothing."""
        self._go_on(lambda due_at: due_at < time.monotonic())
        weights: dict[Callable[[], None], int] = {
            self._break_store: 12,
            self._kill_worker: 8,
            self._stop_worker: 6,
            self._set_clock: 4,
            self._cut_connections: 3,
            self._empty_redis: 2,
            self._rest: 65,
        }
        act = self._chance.choices([*weights], [*weights.values()])[0]
        act()
        self.acts[act.__name__.strip("_")] += 1

    def calm(self) -> None:
        """Let everything go on. Clocks stay as they are."""
        self._sea.proxy.heal()
        self._go_on(lambda _due_at: True)

    def _rest(self) -> None:
        pass

    def _break_store(self) -> None:
        make = self._chance.choice(STORE_FAULTS)
        self._sea.proxy.add(make(self._chance.randint(1, 20)))

    def _kill_worker(self) -> None:
        self._signal(signal.SIGKILL)

    def _stop_worker(self) -> None:
        pid = self._signal(signal.SIGSTOP)
        if pid is not None:
            # Up to four leases.
            self._stopped[pid] = time.monotonic() + self._chance.uniform(0.5, 8)

    def _set_clock(self) -> None:
        self._sea.clock.set(self._chance.choice([-HOUR_S, 0, HOUR_S]))

    def _cut_connections(self) -> None:
        self._sea.deployment.redis.client_kill_filter(_type="normal", skipme=True)

    def _empty_redis(self) -> None:
        self._sea.deployment.redis.flushall()

    def _signal(self, signum: signal.Signals) -> int | None:
        pids = self._sea.worker_pids()
        if not pids:
            return None
        pid = self._chance.choice(pids)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        return pid

    def _go_on(self, is_due: Callable[[float], bool]) -> None:
        due = {pid for pid, due_at in self._stopped.items() if is_due(due_at)}
        self._sea.deployment.go_on(due & processes_of(self._sea.folder).keys())
        self._stopped = {pid: at for pid, at in self._stopped.items() if pid not in due}


def _settings(stack: Stack, folder: Path, *, keyed: bool) -> Settings:
    quick = Settings.from_env({**stack.environ, **ENVIRON})
    changed = {} if keyed else {"deployment_keys": None}
    return with_new_bucket(quick, engine="test", cache_dir=folder / "cache", **changed)


def _doubled(history: OutcomeHistory) -> tuple[list[str], int]:
    """Outcomes and ends of which the store took two that differ; how many it took twice alike."""
    doubled, rewritten = [], 0
    for key, versions in history.versions.items():
        meanings: set[object] = set()
        for version in versions:
            if key.endswith("/final.json"):
                end = JobFinal.from_json(version, where=key)
                meanings.add((end.state, end.items_ok, end.items_failed, end.outcomes_sha256))
            else:
                outcome = ShardOutcome.from_json(version, where=key)
                meanings.add((outcome.status, outcome.data and outcome.data.sha256))
        if len(meanings) > 1:
            doubled.append(key)
        rewritten += len(versions) - len(meanings)
    return doubled, rewritten
