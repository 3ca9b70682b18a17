"""Ports: the preferred one if it is free, and another try if one was taken meanwhile."""

import pytest

from fornada.errors import StackError
from fornada.local.ports import PortTakenError, on_free_port


def test_a_port_that_was_taken_meanwhile_is_left_for_another() -> None:
    tried: list[int] = []

    def start(port: int) -> int:
        tried.append(port)
        if len(tried) == 1:
            raise PortTakenError("taken")
        return port

    started = on_free_port(start, preferred=None)

    assert tried[1] == started


def test_it_gives_up_when_every_port_is_taken() -> None:
    def start(port: int) -> int:
        raise PortTakenError(f"{port} is taken")

    with pytest.raises(StackError, match="try again"):
        on_free_port(start, preferred=None)


def test_other_failures_are_not_tried_again() -> None:
    tried: list[int] = []

    def start(port: int) -> int:
        tried.append(port)
        raise StackError("no disk")

    with pytest.raises(StackError, match="no disk"):
        on_free_port(start, preferred=None)
    assert 1 == len(tried)
