"""A process whose GPU is lost ends when its shards have been given back."""

import threading

from worker.host.device_loss import DeviceLoss
from worker.host.watchdog import Activity


def test_a_process_ends_once_after_the_shards_at_work_and_no_other_begins() -> None:
    # given two shards at work
    activity, ended = Activity(), threading.Semaphore(0)
    at_end: list[int] = []

    def end_process() -> None:
        at_end.append(activity.running_count)
        ended.release()

    loss = DeviceLoss(activity=activity, end_process=end_process)
    begun: list[str] = []

    def begin() -> None:
        with activity.running():
            begun.append("a third")

    with activity.running():
        with activity.running():
            # when both find that the device is lost
            loss.note()
            loss.note()
            while not activity.is_ending:
                threading.Event().wait(0.001)
            threading.Thread(target=begin, daemon=True).start()
        assert not ended.acquire(blocking=False)

    # then it ends after the second
    assert ended.acquire(timeout=30)
    assert ([0], []) == (at_end, begun)
