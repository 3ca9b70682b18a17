"""A worker process: what ends it."""

import threading
from functools import partial

import pytest

from worker import process


def test_a_thread_that_dies_of_a_lack_of_memory_ends_the_process_for_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[str] = []
    hook = partial(process._end_for_want_of_memory, end_process=lambda: ended.append("once"))
    monkeypatch.setattr(threading, "excepthook", hook)

    def die(error: Exception) -> None:
        raise error

    for error in (ValueError("who knows"), MemoryError("a manifest")):
        thread = threading.Thread(target=die, args=(error,))
        thread.start()
        thread.join()

    assert ["once"] == ended
