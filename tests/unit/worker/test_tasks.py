"""The Celery task: what is no message is refused, and nothing is raised."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from celery import Celery

from fornada import keys
from fornada.errors import MessageError
from fornada.queue.envelope import messages_of
from fornada.queue.message import ShardMessage
from worker import tasks
from worker.host.watchdog import Activity

GOOD = {"schema_version": 1, "job_id": "job", "shard": 3}


def test_messages_are_decoded_in_order_with_or_without_a_schema_version() -> None:
    carrying = {"schema_version": 2, "job_id": "other", "shard": 0, "manifest": "{}"}
    first = ShardMessage(job_id="job", shard=3)

    assert [first, ShardMessage(**carrying)] == messages_of((GOOD, carrying), {})
    assert [first] == messages_of(({"job_id": "job", "shard": 3},), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ((), {}, "0 arguments"),
        ((GOOD,) * 33, {}, "33 arguments"),
        ((GOOD, {**GOOD, "shard": -1}), {}, "shard"),
        ((), GOOD, "no keywords"),
        ((GOOD,), {"x": 1}, "no keywords"),
        ((None,), {}, "body"),
        (("job",), {}, "body"),
        (([GOOD],), {}, "body"),
        (({**GOOD, "more": 1},), {}, "more"),
        (({**GOOD, "schema_version": 4},), {}, "schema_version"),
        (({**GOOD, "manifest": "{}"},), {}, "version 1 has no manifest"),
        (({**GOOD, "schema_version": 2, "manifest": "x" * (64 * 1024 + 1)},), {}, "manifest"),
        (({**GOOD, "schema_version": 2, "manifest": {}},), {}, "manifest"),
        (({**GOOD, "shard": -1},), {}, "shard"),
        (({**GOOD, "shard": "3"},), {}, "shard"),
        (({**GOOD, "shard": True},), {}, "shard"),
        (({**GOOD, "shard": 1.0},), {}, "shard"),
        (({**GOOD, "job_id": "../etc"},), {}, "job_id"),
        (({**GOOD, "job_id": "a" * 129},), {}, "job_id"),
        (({**GOOD, "job_id": "job\n"},), {}, "job_id"),
        (({**GOOD, "job_id": None},), {}, "job_id"),
    ],
)
def test_what_is_no_message_is_refused_and_says_where(
    args: tuple[Any, ...], kwargs: dict[str, Any], why: str
) -> None:
    with pytest.raises(MessageError, match=why):
        messages_of(args, kwargs)


def _task(
    run: Callable[[Sequence[ShardMessage]], object],
    activity: Activity | None = None,
    *,
    end_process: Callable[[], object] = lambda: None,
) -> Any:
    app = Celery("test", set_as_current=False)
    tasks.register(
        app,
        run=lambda messages, _traceparent: run(messages),
        activity=activity or Activity(),
        end_process=end_process,
    )
    return app.tasks[keys.TASK_RUN_SHARD]


def test_the_task_has_the_name_that_producers_know_and_drops_bad_messages() -> None:
    ran: list[ShardMessage] = []
    task = _task(ran.extend)

    task({"job_id": "job"})
    task(GOOD, more=1)
    task(GOOD)

    assert [ShardMessage(job_id="job", shard=3)] == ran


def test_the_worker_has_no_task_but_ours() -> None:
    app = Celery("test", set_as_current=False)
    tasks.register(app, run=lambda *_: None, activity=Activity(), end_process=lambda: None)

    assert [keys.TASK_RUN_SHARD] == list(app.tasks)


def test_no_exception_leaves_the_task() -> None:
    # and the shard is at work while it runs, however it ends
    activity = Activity()
    seen: list[int] = []

    def run(_messages: Sequence[ShardMessage]) -> None:
        seen.append(activity.running_count)
        if len(seen) > 1:
            raise RuntimeError("who knows")

    for _ in range(2):
        _task(run, activity)(GOOD)

    assert ([1, 1], 0) == (seen, activity.running_count)


def test_out_of_memory_ends_the_process_for_a_restart() -> None:
    ended: list[str] = []

    def run(_messages: Sequence[ShardMessage]) -> None:
        raise MemoryError("device")

    _task(run, end_process=lambda: ended.append("once"))(GOOD)

    assert ["once"] == ended
