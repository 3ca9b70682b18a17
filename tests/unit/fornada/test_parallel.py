"""Reads of many things of which all are wanted, by a few threads."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from fornada import parallel
from fornada.parallel import all_in_parallel


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_all_results_come_in_order(count: int) -> None:
    assert [n * n for n in range(count)] == all_in_parallel(lambda n: n * n, range(count))


def test_so_many_threads_read_at_a_time() -> None:
    together = threading.Barrier(3)

    threads = all_in_parallel(
        lambda _n: (together.wait(timeout=30), threading.get_ident())[1], range(3), threads=3
    )

    assert 3 == len(set(threads))


def test_threads_have_what_their_caller_bound() -> None:
    job = ContextVar("job", default="none")
    job.set("job-1")

    assert ["job-1"] * 5 == all_in_parallel(lambda _n: job.get(), range(5))


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Future[None]]:
    """What is submitted to pools."""
    submitted = []

    class Pool(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):  # noqa: ANN001, ANN002, ANN003, ANN202 - as the base
            submitted.append(super().submit(fn, *args, **kwargs))
            return submitted[-1]

    monkeypatch.setattr(parallel, "ThreadPoolExecutor", Pool)
    return submitted


def test_a_thread_has_one_task_for_all_that_it_reads(tasks: list[Future[None]]) -> None:
    all_in_parallel(str, range(100), threads=4)

    assert 4 == len(tasks)


def test_after_an_error_nothing_further_is_read(
    tasks: list[Future[None]], wait_until: Callable[..., None]
) -> None:
    read: list[int] = []
    failing = threading.Event()

    def fail(number: int) -> int:
        read.append(number)
        if number == 1:
            failing.set()
            raise ValueError("one")
        assert failing.wait(timeout=30)
        wait_until(lambda: any(task.done() for task in tasks))
        return number

    with pytest.raises(ValueError, match="one"):
        all_in_parallel(fail, range(100), threads=2)

    assert [0, 1] == sorted(read)
