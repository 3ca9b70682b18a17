"""A process that was told to end does so, once its work is done."""

import threading

from worker.host.ending import Ending


def test_a_process_that_does_not_end_is_ended_once_nothing_is_at_work() -> None:
    # given a shard at work for three looks
    looks, ended = [True, True, True], threading.Event()
    working_at_end: list[bool] = []

    def at_work() -> bool:
        return looks.pop() if looks else False

    def end() -> None:
        working_at_end.append(bool(looks))
        ended.set()

    ending = Ending(at_work=at_work, end_process=end, within_s=0.02)

    # when it is told twice
    ending.begin()
    ending.begin()

    assert ended.wait(30)
    assert [False] == working_at_end
