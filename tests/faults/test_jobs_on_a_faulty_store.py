"""Jobs of a real worker process whose store fails in every way for a while."""

import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fornada.local.children import Children
from fornada.local.stack import Stack
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore

from ..deployment import end_worker, environ_of, start_worker, unused_database, with_new_bucket
from .rig.checker import OutcomeHistory
from .rig.deployment import END_WITHIN_S, ENVIRON, Deployment
from .rig.photographs import WAYS, Photographs
from .rig.processes import left_of
from .rig.s3_proxy import (
    BreakOff,
    Corrupt,
    DropHeader,
    LoseAnswer,
    NoAnswer,
    Refuse,
    Rule,
    S3Proxy,
    Trickle,
)

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(600),
]

#: Too many shards for inputs inside the manifest.
SHARDS = 120
SMALL_JOBS = 40
STARTED_WITHIN_S = 120.0
_IGNORED = "moto, conditions ignored"

WaitUntil = Callable[..., None]


@dataclass(frozen=True)
class _Place:
    """The part of a stack that a `Deployment` uses."""

    settings: Settings
    data_dir: Path


@dataclass(frozen=True)
class _Line:
    """A deployment whose worker, unlike its client, reaches the store through the proxy."""

    deployment: Deployment
    proxy: S3Proxy
    #: The store as the worker sees it.
    through: S3ObjectStore
    log: Path


@pytest.fixture(scope="module", params=["rclone", "moto", _IGNORED])
def line(
    request: pytest.FixtureRequest, servers: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Line]:
    """One worker process, on each kind of store."""
    folder = tmp_path_factory.mktemp("store")
    moto = None if request.param == "rclone" else request.getfixturevalue("moto_endpoint")
    direct = _settings(servers, folder, endpoint=moto)
    assert direct.s3_endpoint_url is not None
    restarted = Children(record_path=folder / "restarted.json", signs_dir=folder / "none")
    deployment = Deployment(_Place(settings=direct, data_dir=folder), restarted=restarted)  # type: ignore[arg-type] - of a stack it needs no more
    log = folder / "worker.log"
    with S3Proxy(direct.s3_endpoint_url) as proxy:
        through = direct.model_copy(update={"s3_endpoint_url": proxy.url})
        _heal(proxy, request.param)
        process = start_worker(environ_of(through), log)
        try:
            yield _Line(deployment, proxy, S3ObjectStore.from_settings(through), log)
        finally:
            end_worker(process, deployment.worker_pids)
            deployment.redis.close()
    assert [] == proxy.errors
    assert {} == left_of(folder)
    assert [] == [t.name for t in threading.enumerate() if "s3-proxy" in t.name]


@pytest.fixture(scope="module")
def photographs(line: _Line) -> Photographs:
    """Photographs for jobs of `SHARDS` shards."""
    return Photographs(line.deployment, shards=SHARDS)


@pytest.fixture
def ready(line: _Line, request: pytest.FixtureRequest, wait_until: WaitUntil) -> _Line:
    """The worker consumes, and nothing is broken."""
    _heal(line.proxy, request.node.callspec.params["line"])
    wait_until(line.deployment.worker_pids, timeout_s=STARTED_WITHIN_S)
    wait_until(line.deployment.waiting_count, timeout_s=STARTED_WITHIN_S)
    return line


#: Each fault, and how often it must strike before it ends.
_FAULTS = [
    pytest.param(lambda: Refuse(status=500, code="InternalError"), 40, id="500"),
    pytest.param(Refuse, 40, id="503 SlowDown"),
    pytest.param(lambda: BreakOff(method="GET", after_bytes=60, reset=True), 40, id="reset"),
    pytest.param(lambda: BreakOff(method="GET", after_bytes=60), 40, id="truncated"),
    pytest.param(lambda: Trickle(method="GET", bytes_per_s=1000), 20, id="1 KB/s down"),
    pytest.param(lambda: Trickle(method="PUT", bytes_per_s=1000, request=True), 20, id="1 KB/s up"),
    pytest.param(lambda: NoAnswer(times=4), 4, id="half open"),
    pytest.param(lambda: Corrupt(method="GET", key="/input/", at=300, once=True), 10, id="corrupt"),
    pytest.param(
        lambda: LoseAnswer(method="PUT", key="/(outcome|data)/", once=True), 40, id="answer lost"
    ),
]


@pytest.mark.parametrize(("make", "least"), _FAULTS)
def test_a_store_that_fails_for_a_while_loses_and_changes_nothing(
    make: Callable[[], Rule], least: int, ready: _Line, wait_until: WaitUntil
) -> None:
    # given
    deployment = ready.deployment
    history = OutcomeHistory(ready.through)
    # Counted at once, unlike in a listing.
    outcomes = ready.proxy.add(Rule(method="PUT", key="/outcome/", times=3))
    job = deployment.submit(SHARDS, job_id=f"job-{uuid.uuid4().hex[:8]}")
    wait_until(lambda: outcomes.count == 3, timeout_s=60)

    # when
    rule = ready.proxy.add(make())
    wait_until(lambda: rule.count >= least, timeout_s=120)
    assert deployment.done_count(job) < SHARDS
    ready.proxy.remove(rule)

    # then
    history.observe(job.id)
    deployment.check_undisturbed(job, history)
    assert "unexpectedly" not in ready.log.read_text()
    assert "Traceback" not in ready.log.read_text()


#: One after the other strikes a job of photographs.
_STRIKES: list[tuple[Callable[[], Rule], int]] = [
    (Refuse, 20),
    (lambda: BreakOff(method="GET", after_bytes=60, reset=True), 20),
    (lambda: BreakOff(method="GET", after_bytes=60), 20),
    (lambda: NoAnswer(times=2), 2),
    (lambda: LoseAnswer(method="PUT", key="/(outcome|data)/", once=True), 6),
]


@pytest.mark.parametrize("way", WAYS)
def test_a_store_that_fails_in_many_ways_loses_no_photograph(
    way: str, ready: _Line, photographs: Photographs, wait_until: WaitUntil
) -> None:
    # given
    history = OutcomeHistory(ready.through)
    outcomes = ready.proxy.add(Rule(method="PUT", key="/outcome/", times=3))
    job = photographs.submit(way)
    wait_until(lambda: outcomes.count == 3, timeout_s=60)

    # when
    for make, least in _STRIKES:
        rule = ready.proxy.add(make())
        wait_until(lambda rule=rule, least=least: rule.count >= least, timeout_s=120)
        assert ready.deployment.done_count(job) < SHARDS
        ready.proxy.remove(rule)

    # then
    photographs.check_undisturbed(job, history)
    assert "unexpectedly" not in ready.log.read_text()
    assert "Traceback" not in ready.log.read_text()


def test_every_answer_to_a_write_of_a_job_may_be_lost(ready: _Line) -> None:
    # given
    rule = ready.proxy.add(LoseAnswer(method="PUT", key="/jobs/", once=True))

    # when
    job = ready.deployment.submit(SHARDS, job_id=f"job-{uuid.uuid4().hex[:8]}")

    # then
    history = OutcomeHistory(ready.through)
    ready.deployment.check_undisturbed(job, history)
    assert any(path.endswith("/final.json") for path in rule.hit)
    # Data and outcome of each shard.
    assert 2 * SHARDS <= rule.count


def test_every_answer_to_a_write_of_small_jobs_may_be_lost(ready: _Line) -> None:
    # given
    rule = ready.proxy.add(LoseAnswer(method="PUT", key="/jobs/", once=True))

    # when
    small = ready.deployment.submit_small(SMALL_JOBS)

    # then
    history = OutcomeHistory(ready.through)
    for job, images in small:
        assert "SUCCEEDED" == job.wait(timeout_s=END_WITHIN_S).state
        history.observe(job.id)
        ready.deployment.check(job, images=images)
        history.observe(job.id)
    history.check()
    assert SMALL_JOBS == len([path for path in rule.hit if path.endswith("/final.json")])


def test_conditions_that_are_ignored_after_the_probe_change_nothing(ready: _Line) -> None:
    # given: the worker has already found that conditions are honoured
    if not ready.through.conditional_writes:
        pytest.skip("this store never honours conditions")
    rule = ready.proxy.add(DropHeader(method="PUT", key="/jobs/"))

    # when
    job = ready.deployment.submit(SHARDS, job_id=f"job-{uuid.uuid4().hex[:8]}")

    # then
    ready.deployment.check_undisturbed(job, OutcomeHistory(ready.deployment.objects))
    assert SHARDS <= rule.count


def _settings(servers: Stack, folder: Path, *, endpoint: str | None) -> Settings:
    quick = Settings.from_env({**servers.environ, **ENVIRON})
    return with_new_bucket(
        quick,
        redis_url=unused_database(quick),
        s3_endpoint_url=endpoint or quick.s3_endpoint_url,
        cache_dir=folder / "cache",
    )


def _heal(proxy: S3Proxy, kind: str) -> None:
    proxy.heal()
    if kind == _IGNORED:
        proxy.add(DropHeader(method="PUT"))
