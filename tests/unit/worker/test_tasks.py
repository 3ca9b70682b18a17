"""The Celery task: what is no message is refused, and nothing is raised."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from celery import Celery

from fornada import keys
from fornada.errors import MessageError
from fornada.queue.message import ShardMessage
from worker import tasks
from worker.host.watchdog import Activity

GOOD = {"schema_version": 1, "job_id": "job", "shard": 3}


def test_a_message_is_decoded() -> None:
    assert [ShardMessage(job_id="job", shard=3)] == tasks.decode((GOOD,), {})


def test_several_messages_are_decoded_in_order() -> None:
    carrying = {"schema_version": 2, "job_id": "other", "shard": 0, "manifest": "{}"}

    assert [
        ShardMessage(job_id="job", shard=3),
        ShardMessage(schema_version=2, job_id="other", shard=0, manifest="{}"),
    ] == tasks.decode((GOOD, carrying), {})


def test_the_schema_version_may_be_left_out() -> None:
    assert [ShardMessage(job_id="job", shard=3)] == tasks.decode(
        ({"job_id": "job", "shard": 3},), {}
    )


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ((), {}, "0 arguments"),
        ((GOOD,) * 33, {}, "33 arguments"),
        ((GOOD, {**GOOD, "shard": -1}), {}, "shard"),
        ((), GOOD, r"\['job_id', 'schema_version', 'shard'\]"),
        ((GOOD,), {"x": 1}, r"\['x'\]"),
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
        tasks.decode(args, kwargs)


class _Calls:
    """A `run` that keeps what it is given, and fails when it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.messages: list[ShardMessage] = []
        self._error = error

    def __call__(self, messages: Sequence[ShardMessage]) -> str:
        self.messages.extend(messages)
        if self._error is not None:
            raise self._error
        return "ok"


def _task(run: Callable[[Sequence[ShardMessage]], object], activity: Activity | None = None) -> Any:
    app = Celery("test", set_as_current=False)
    tasks.register(app, run=run, activity=activity or Activity())
    return app.tasks[keys.TASK_RUN_SHARD]


def test_the_task_has_the_name_that_producers_know_and_runs_messages() -> None:
    run = _Calls()

    _task(run)(GOOD)

    assert [ShardMessage(job_id="job", shard=3)] == run.messages


def test_a_bad_message_is_dropped_without_an_error() -> None:
    run = _Calls()

    _task(run)({"job_id": "job"})
    _task(run)(GOOD, more=1)

    assert [] == run.messages


def test_no_exception_leaves_the_task() -> None:
    run = _Calls(RuntimeError("who knows"))

    _task(run)(GOOD)

    assert 1 == len(run.messages)


@pytest.mark.parametrize("error", [None, RuntimeError("who knows")])
def test_a_shard_is_at_work_while_it_runs_however_it_ends(error: Exception | None) -> None:
    activity = Activity()
    seen: list[int] = []

    def run(_messages: Sequence[ShardMessage]) -> str:
        seen.append(activity.running_count)
        if error is not None:
            raise error
        return "ok"

    _task(run, activity)(GOOD)

    assert ([1], 0) == (seen, activity.running_count)


def test_out_of_memory_ends_the_process_for_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    # The real one would end the tests.
    monkeypatch.setattr(tasks.os, "_exit", codes.append)

    _task(_Calls(MemoryError("device")))(GOOD)

    assert [75] == codes
