"""Notices of jobs, through a real Valkey and in memory: both pass the same tests."""

from collections.abc import Callable, Iterator

import pytest
import redis
from pydantic import SecretStr

from fornada.coordination.interface import Coordination, ShardEnd
from fornada.coordination.notices.interface import Hear, Notice
from fornada.coordination.notices.redis import RedisNotices
from fornada.coordination.redis import RedisCoordination
from fornada.redis_server import keys as redis_keys
from fornada.redis_server.refusals import RIGHTS
from fornada.settings import Settings

from ...redis_proxy import RedisProxy
from .coordinating import begin

WaitUntil = Callable[..., None]


@pytest.fixture(autouse=True)
def _listeners_stop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Else their thread goes on, and logs that its server is gone, in the tests that follow."""
    listen, stops = RedisNotices.listen, list[Callable[[], None]]()

    def noted(self: RedisNotices, job_id: str, hear: Hear) -> Callable[[], None]:
        stops.append(listen(self, job_id, hear))
        return stops[-1]

    monkeypatch.setattr(RedisNotices, "listen", noted)
    yield
    for stop in stops:
        stop()


def _on(url: str) -> RedisCoordination:
    return RedisCoordination.from_settings(Settings(redis_url=SecretStr(url)))


def test_listeners_hear_of_their_jobs_alone_until_they_stop(
    coordination: Coordination, wait_until: WaitUntil
) -> None:
    heard: list[tuple[str, Notice]] = []
    stops = [
        coordination.listen(job_id, lambda notice, who=who: heard.append((who, notice)))
        for who, job_id in (("a", "job"), ("b", "job"), ("c", "other"))
    ]
    wait_until(lambda: {(who, Notice.LISTENING) for who in "abc"} == set(heard))

    coordination.end_jobs({"job": "SUCCEEDED", "third": "FAILED"})
    wait_until(lambda: {("a", Notice.ENDED), ("b", Notice.ENDED)} <= set(heard))
    stops[0]()
    coordination.end_jobs({"job": "SUCCEEDED"})
    coordination.end_jobs({"other": "FAILED"})
    wait_until(lambda: ("c", Notice.ENDED) in heard)

    told = [each for each in heard if each[1] is Notice.ENDED]
    assert [("a", Notice.ENDED), ("b", Notice.ENDED)] == sorted(told[:2])
    assert [("b", Notice.ENDED), ("c", Notice.ENDED)] == told[2:]


def test_progress_is_told_but_not_of_every_shard(
    coordination: Coordination, wait_until: WaitUntil
) -> None:
    heard: list[Notice] = []
    coordination.listen("job", heard.append)
    wait_until(lambda: heard)

    for shard in range(500):
        coordination.mark_done("job", [ShardEnd(shard)])
    coordination.end_jobs({"job": "SUCCEEDED"})
    wait_until(lambda: Notice.ENDED in heard)

    # 500 take less than 10 s even on a busy machine, which are 50 notices.
    assert 1 <= heard.count(Notice.PROGRESS) <= 50


def test_the_first_shard_of_a_large_job_is_told(redis_url: str, wait_until: WaitUntil) -> None:
    heard: list[Notice] = []
    coordination = _on(redis_url)
    coordination.listen("job", heard.append)
    wait_until(lambda: heard)

    begin(coordination, "job", 0, "attempt")

    wait_until(lambda: Notice.PROGRESS in heard)


def test_what_others_publish_is_a_notice_or_nothing(redis_url: str, wait_until: WaitUntil) -> None:
    heard: list[Notice] = []
    _on(redis_url).listen("job", heard.append)
    wait_until(lambda: heard)

    with redis.Redis.from_url(redis_url) as other:
        for junk in (b"", b"listening", b"cut off", b"\xff\x00", b"x" * 10_000_000, b"progress"):
            other.publish(redis_keys.notices("job"), junk)
    wait_until(lambda: Notice.PROGRESS in heard)

    assert [Notice.LISTENING, Notice.PROGRESS] == heard


@pytest.mark.slow
def test_listeners_hear_when_the_connection_breaks_and_when_it_is_back(
    redis_url: str, wait_until: WaitUntil
) -> None:
    heard: list[Notice] = []
    later: list[Notice] = []
    with RedisProxy(redis_url) as proxy:
        coordination = _on(proxy.url)
        coordination.listen("job", heard.append)
        wait_until(lambda: [Notice.LISTENING] == heard)

        proxy.refuse()
        wait_until(lambda: Notice.CUT_OFF in heard)
        coordination.listen("job", later.append)
        wait_until(lambda: Notice.CUT_OFF in later)
        proxy.accept()
        wait_until(lambda: Notice.LISTENING in (heard[-1], *later[-1:]))
        _on(redis_url).end_jobs({"job": "SUCCEEDED"})

        wait_until(lambda: Notice.ENDED in heard and Notice.ENDED in later)


def test_the_stated_rights_are_enough_to_tell_and_to_hear(
    as_user: Callable[[str], SecretStr], wait_until: WaitUntil
) -> None:
    heard: list[Notice] = []
    coordination = RedisCoordination.from_settings(Settings(redis_url=as_user(RIGHTS)))
    coordination.listen("job", heard.append)
    wait_until(lambda: heard)

    coordination.mark_done("job", [ShardEnd(0)])
    coordination.end_jobs({"job": "SUCCEEDED"})
    wait_until(lambda: Notice.ENDED in heard)

    assert [Notice.LISTENING, Notice.PROGRESS, Notice.ENDED] == heard


def test_without_the_right_to_listen_a_listener_hears_that_it_is_cut_off(
    as_user: Callable[[str], SecretStr], wait_until: WaitUntil
) -> None:
    heard: list[Notice] = []
    rights = RIGHTS.replace("&fornada*", "resetchannels")
    coordination = RedisCoordination.from_settings(Settings(redis_url=as_user(rights)))

    coordination.listen("job", heard.append)

    wait_until(lambda: [Notice.CUT_OFF] == heard)
