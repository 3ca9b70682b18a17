"""A worker process: what ends it."""

import threading

import pytest

from worker import process


def test_a_thread_that_dies_of_a_lack_of_memory_ends_the_process_for_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes: list[int] = []
    # The real one would end the tests.
    monkeypatch.setattr(process.os, "_exit", codes.append)
    monkeypatch.setattr(threading, "excepthook", process._end_for_want_of_memory)

    def die(error: Exception) -> None:
        raise error

    for error in (ValueError("who knows"), MemoryError("a manifest")):
        thread = threading.Thread(target=die, args=(error,))
        thread.start()
        thread.join()

    assert [75] == codes
