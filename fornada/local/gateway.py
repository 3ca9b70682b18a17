"""The gateway of the embedded stack."""

import importlib.util
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from fornada.errors import StackError
from fornada.local.child import Child
from fornada.local.children import Children
from fornada.local.ports import HOST, raise_if_taken

_START_TIMEOUT_S = 60.0
_GRACE_S = 5.0


def has_gateway() -> bool:
    """Whether the gateway is installed."""
    return importlib.util.find_spec("fastapi") is not None


def start_gateway(
    *,
    port: int,
    argv: Sequence[str],
    environ: Mapping[str, str],
    log_path: Path,
    children: Children,
) -> Child:
    """Start the gateway, and return once it answers.

    Args:
        port: Its port, on loopback only.
        argv: The command, without its options.
        environ: Its environment.
        log_path: Receives its log.
        children: Owns the process.

    Raises:
        PortTakenError: Another process has the port.
        StackError: It did not start.
    """
    child = children.spawn(
        lambda: Child(
            name="`fornada gateway`",
            argv=[*argv, "--host", HOST, "--port", str(port)],
            environ=environ,
            output_path=log_path,
            grace_s=_GRACE_S,
        )
    )
    try:
        child.wait(lambda: _answers(port), timeout_s=_START_TIMEOUT_S)
    except StackError as exc:
        children.stop(child)
        raise_if_taken(child, exc)
        raise
    return child


def _answers(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
