"""Lists of jobs by owner, and of workers, on a real Valkey and in memory."""

from datetime import UTC, datetime, timedelta

import pytest

from fornada.coordination.interface import Coordination, SmallJob
from fornada.coordination.job_index.interface import Position
from fornada.coordination.worker_board.interface import WorkerReport
from fornada.redis_server import keys as redis_keys

AT = datetime(2026, 1, 1, tzinfo=UTC)


def _all(coordination: Coordination, owner: str | None, *, count: int) -> list[str]:
    """The ids on all pages of `count`."""
    ids: list[str] = []
    before: Position | None = None
    while page := coordination.jobs_before(before, owner=owner, count=count):
        ids += [place.job_id for place in page]
        before = page[-1]
    return ids


def test_jobs_of_an_owner_come_in_pages_newest_first(coordination: Coordination) -> None:
    coordination.note_owned("bank", {"x": AT})
    for n in range(3):
        coordination.note_owned("shop", {f"job-{n}": AT + timedelta(seconds=n)})
    # In one millisecond.
    coordination.note_owned("shop", {f"same-{n}": AT for n in range(5)})
    assert coordination.jobs_before(None, owner="shop", count=9) is None

    coordination.restore_owned(
        {"shop": {"job-0": AT + timedelta(days=1), "old": AT - timedelta(seconds=1)}}
    )

    assert coordination.knows_owners()
    newest = ["job-2", "job-1", *(f"same-{n}" for n in (4, 3, 2, 1, 0)), "job-0", "old"]
    for count in (1, 2, 20):
        assert newest == _all(coordination, "shop", count=count)
    coordination.forget_owned("shop", "job-1")
    assert ["job-2", "same-4"] == _all(coordination, "shop", count=20)[:2]
    assert [] == coordination.jobs_before(None, owner="nobody", count=1)


def test_all_jobs_are_listed_once_the_list_is_complete(coordination: Coordination) -> None:
    coordination.register_small_jobs(
        [SmallJob(job_id=job_id, shard_count=1) for job_id in "abc"], queue="q", window=9
    )
    assert coordination.jobs_before(None, owner=None, count=9) is None

    coordination.rebuild_open_jobs([], newest={"old": AT})

    ids = _all(coordination, None, count=2)
    assert ("old", {"a", "b", "c", "old"}, 4) == (ids[-1], set(ids), len(ids))


def test_workers_report_until_they_end(coordination: Coordination) -> None:
    for name in ("w-2", "w-1"):
        coordination.report(_report(name))
    coordination.report(_report("w-1", items_done=7))

    assert [("w-1", 7), ("w-2", 0)] == [
        (report.name, report.items_done) for report in coordination.workers()
    ]
    coordination.forget_worker("w-1")
    assert ["w-2"] == [report.name for report in coordination.workers()]


def test_what_is_no_report_or_old_is_left_out(coordination: Coordination) -> None:
    client = getattr(coordination, "_redis", None)
    if client is None:
        pytest.skip("nobody else writes into this process's memory")
    coordination.report(_report("w-1"))
    said = client.hget(redis_keys.WORKERS, "w-1").partition(" ")[2]
    junk = {"old": f"1 {said}", "other": "x", "broken": f"{10**13} {{", "bytes": b"\xff 1"}
    client.hset(redis_keys.WORKERS, mapping=junk)

    assert ["w-1"] == [report.name for report in coordination.workers()]
    assert ["w-1"] == list(client.hkeys(redis_keys.WORKERS))


def _report(name: str, *, items_done: int = 0) -> WorkerReport:
    return WorkerReport(
        name=name,
        version="1",
        queue="fornada",
        engine="test",
        models=[],
        threads=1,
        shards_running=0,
        items_done=items_done,
        items_per_s=0.0,
        started_at=AT,
    )
