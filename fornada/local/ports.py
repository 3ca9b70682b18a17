"""Start a server on a free loopback port, and on another one if that is taken meanwhile."""

import socket
from collections.abc import Callable
from typing import TypeVar

from fornada.errors import StackError
from fornada.local.child import Child

HOST = "127.0.0.1"
_TRIES = 5

_T = TypeVar("_T")


class PortTakenError(StackError):
    """Another process has the port."""


def raise_if_taken(child: Child, exc: StackError) -> None:
    """Raise PortTakenError if the server ended because of its port."""
    if "already in use" in child.output_tail():
        raise PortTakenError(str(exc)) from exc


def free_port(preferred: int | None = None) -> int:
    """A port that was free a moment ago; the preferred one if possible."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            # Like the servers, so that a port with lingering connections counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise StackError(f"no port is free on {HOST}; close some programs")


def on_free_port(start: Callable[[int], _T], *, preferred: int | None) -> _T:
    """The result of `start(port)` on the preferred port if it is free, else on another.

    Raises:
        StackError: `start` failed for another reason, or every port was taken.
    """
    for attempt in range(_TRIES):
        try:
            return start(free_port(preferred if attempt == 0 else None))
        except PortTakenError:
            continue
    raise StackError(f"{_TRIES} ports of {HOST} were taken while the server started; try again")
