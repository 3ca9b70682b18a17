"""Reads and requests of many things of which all are wanted, by a few threads."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from fornada import parallel
from fornada.parallel import all_in_parallel, in_parallel_if_slow


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


class _Clock:
    """Stands in for `time`: each request takes the next of these seconds."""

    def __init__(self, *taken_s: float) -> None:
        self._now_s = 0.0
        self._taken_s = list(taken_s)

    def monotonic(self) -> float:
        return self._now_s

    def ask(self, _number: int) -> int:
        """Take as long, and say in which thread."""
        self._now_s += self._taken_s.pop(0)
        return threading.get_ident()


@pytest.mark.parametrize(
    ("taken_s", "here_count"),
    [
        ([0.001] * 6, 6),
        # One may have waited for the interpreter.
        ([0.001, 0.03, 0.001, 0.03, 0.001, 0.03], 6),
        ([0.02] * 6, 2),
        ([0.001, 0.02, 0.02, 0.001, 0.001, 0.001], 3),
    ],
)
def test_threads_ask_only_what_follows_two_slow_answers(
    monkeypatch: pytest.MonkeyPatch, taken_s: list[float], here_count: int
) -> None:
    clock = _Clock(*taken_s)
    monkeypatch.setattr(parallel, "time", clock)

    threads = list(in_parallel_if_slow(clock.ask, range(6)))

    assert [True] * here_count + [False] * (6 - here_count) == [
        each == threading.get_ident() for each in threads
    ]


def test_answers_of_a_slow_store_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(*[0.02] * 100)
    monkeypatch.setattr(parallel, "time", clock)

    answers = in_parallel_if_slow(lambda n: (clock.ask(n), n * n)[1], range(100))

    assert [n * n for n in range(100)] == list(answers)


def test_an_error_is_raised_where_it_occurs_and_nothing_further_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "time", _Clock())
    asked: list[int] = []

    def fail_at_2(number: int) -> int:
        asked.append(number)
        return 1 // (2 - number)

    answers = in_parallel_if_slow(fail_at_2, range(100))

    assert [0, 1] == [next(answers), next(answers)]
    with pytest.raises(ZeroDivisionError):
        next(answers)
    assert [0, 1, 2] == asked
