"""Start a server on a free port of loopback, and on another one if that is taken meanwhile."""

import socket
from collections.abc import Callable
from typing import TypeVar

from fornada.errors import StackError
from fornada.local.child import Child

HOST = "127.0.0.1"
_TRIES = 5

_T = TypeVar("_T")


class PortTakenError(StackError):
    """Somebody else has the port."""


def raise_if_taken(child: Child, exc: StackError) -> None:
    """Raise PortTakenError when the server ended because of its port."""
    if "already in use" in child.output_tail():
        raise PortTakenError(str(exc)) from exc


def free_port(preferred: int | None = None) -> int:
    """A port that was free a moment ago: the preferred one if possible."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            # As the servers do, so that a port whose last connections linger counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise StackError(f"no port is free on {HOST}; close some programs")


def on_free_port(start: Callable[[int], _T], *, preferred: int | None) -> _T:
    """What `start(port)` returns, on the preferred port if it is free, else on another.

    Raises:
        StackError: `start` failed for another reason, or every port was taken.
    """
    for attempt in range(_TRIES):
        try:
            return start(free_port(preferred if attempt == 0 else None))
        except PortTakenError:
            continue
    raise StackError(f"{_TRIES} ports of {HOST} were taken while the server began; try again")
