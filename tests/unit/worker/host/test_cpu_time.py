"""CPU time is shared equally among what is at work at the same moment, and none of it is lost."""

import subprocess
import sys
import time

from worker.host.cpu_time import CpuTime, IdleCores, process_cpu_s


class _Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_who_is_alone_takes_all_and_who_has_company_shares() -> None:
    clock = _Clock()
    cpu = CpuTime(clock=clock)

    with cpu.at_work() as first_s:
        clock.now_s += 3
        with cpu.at_work() as second_s:
            clock.now_s += 4
            shares = first_s(), second_s()
        clock.now_s += 1
        assert (3 + 2, 2) == shares
        assert 3 + 2 + 1 == first_s()


def test_what_was_spent_while_nothing_was_at_work_is_nobodys() -> None:
    clock = _Clock()
    cpu = CpuTime(clock=clock)
    with cpu.at_work():
        clock.now_s += 1
    clock.now_s += 50

    with cpu.at_work() as spent_s:
        clock.now_s += 2

        assert 2 == spent_s()


def test_threads_and_ended_processes_count() -> None:
    began_s = process_cpu_s()
    own_s = time.process_time()
    burn = "import time\nwhile time.process_time() < 0.2: pass"

    subprocess.run([sys.executable, "-I", "-c", burn], check=True)

    assert process_cpu_s() - began_s >= 0.2 + time.process_time() - own_s - 0.01


def test_cores_that_the_process_uses_do_not_idle() -> None:
    began_s, idle = time.monotonic(), IdleCores(cores=1)
    used_s = time.thread_time() + 0.05
    while time.thread_time() < used_s:
        pass

    share = idle.share()

    assert 0.0 <= share <= 1 - 0.05 / (time.monotonic() - began_s)
