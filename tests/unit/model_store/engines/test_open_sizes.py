"""What is found for a size of items is found once, whoever asks."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from model_store.engines.open_sizes import found_once

#: Long for a call that nothing holds up; one that is held up takes as long.
_HELD_UP_S = 0.2
_TIMEOUT_S = 30.0


def test_threads_that_ask_for_the_same_size_wait_for_the_one_that_finds_it() -> None:
    # Given
    first, again, go_on = threading.Event(), threading.Event(), threading.Event()
    asked: list[int] = []

    def find(size: int) -> int:
        asked.append(size)
        (again if first.is_set() else first).set()
        assert go_on.wait(_TIMEOUT_S)
        return 2 * size

    found = found_once(find, most=8)
    with ThreadPoolExecutor(2) as pool:
        # When
        answers = [pool.submit(found, 7)]
        assert first.wait(_TIMEOUT_S)
        answers.append(pool.submit(found, 7))
        is_found_twice = again.wait(_HELD_UP_S)
        go_on.set()

        # Then
        assert not is_found_twice
        assert [14, 14] == [answer.result(_TIMEOUT_S) for answer in answers]
    assert [7] == asked


def test_another_size_is_found_meanwhile() -> None:
    both = threading.Barrier(2, timeout=_TIMEOUT_S)

    def find(size: int) -> int:
        both.wait()
        return 2 * size

    found = found_once(find, most=8)
    with ThreadPoolExecutor(2) as pool:
        assert [14, 16] == list(pool.map(found, [7, 8]))


def test_a_size_that_fails_is_tried_again() -> None:
    failures = [ValueError("not yet")]

    def find(size: int) -> int:
        if failures:
            raise failures.pop()
        return 2 * size

    found = found_once(find, most=8)

    with pytest.raises(ValueError, match="not yet"):
        found(7)
    assert 14 == found(7)
