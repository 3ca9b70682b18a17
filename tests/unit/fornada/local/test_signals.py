"""Signals that would end the process: held back while it matters, then delivered."""

import signal
import threading

import pytest

from fornada.local.signals import signals_deferred, signals_interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_for_the_end_of_the_block(number: signal.Signals) -> None:
    done: list[str] = []

    def interrupted() -> None:
        with signals_interrupt():
            with signals_deferred():
                signal.raise_signal(number)
                done.append("block")
            done.append("after")

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert ["block"] == done


def test_without_a_signal_the_handlers_are_what_they_were() -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]

    with signals_interrupt(), signals_deferred():
        pass

    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert before == after


def test_an_ignored_signal_stays_ignored() -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_interrupt(), signals_deferred():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_another_thread_may_use_it_too() -> None:
    done: list[str] = []

    def work() -> None:
        with signals_deferred():
            done.append("worked")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert ["worked"] == done
