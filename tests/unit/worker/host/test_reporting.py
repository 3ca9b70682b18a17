"""What a worker process says of itself."""

import time

from fornada.coordination.memory import InMemoryCoordination
from fornada.events import CallsAnswered, ModelDropped, ModelLoaded, ShardFinished
from fornada.records import ModelPin
from worker.host.reporting import Reporter, Work

PIN = ModelPin(name="m", version=1, sha256="0" * 64)


def _finished(item_count: int) -> ShardFinished:
    return ShardFinished(
        job_id="j",
        shard=0,
        model=PIN,
        status="ok",
        item_count=item_count,
        failed_count=0,
        predict_s=0.1,
        ends_job=False,
    )


def test_the_rate_is_that_of_the_last_minute() -> None:
    time_s = [0.0]
    work = Work(clock=lambda: time_s[0])
    rates = []
    for at_s, count in ((0.0, 60), (30.0, 60), (30.5, 30), (80.0, 60)):
        time_s[0] = at_s
        work.hear(_finished(count))
        rates.append(work.items_per_s)

    work.hear(CallsAnswered(model=PIN, call_count=2, row_count=5, duration_s=0.1))

    assert [60.0, 4.0, 150 / 30.5, 150 / 60] == rates
    assert 215 == work.items_done


def test_models_are_those_in_memory() -> None:
    work = Work()
    loaded = ModelLoaded(model=PIN, sha256="00", engine="e", tile_items=1, duration_s=0.1)

    work.hear(loaded)
    before = work.models
    work.hear(ModelDropped(model=PIN))

    assert (["m:1"], []) == (before, work.models)


def test_a_worker_is_on_the_board_until_it_ends() -> None:
    board = InMemoryCoordination()
    reporter = Reporter(
        board,
        Work(),
        name="w-1",
        queue="q",
        engine="e",
        threads=lambda: 2,
        running_count=lambda: 1,
    )

    reporter.start()
    while not board.workers():
        time.sleep(0.001)
    (report,) = board.workers()
    reporter.stop()

    assert ("w-1", 2, 1, []) == (report.name, report.threads, report.shards_running, report.models)
    assert [] == board.workers()
