"""Which worker process this is."""

import os
import socket
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """One worker process."""

    #: Its name in outcomes, leases and logs.
    name: str
    #: Cores that predict may use.
    threads: int
    #: What computes, with its version.
    engine: str


def worker_name(pid: int | None = None) -> str:
    """The name of this process, or of another one on this machine."""
    return f"{socket.gethostname()}-{os.getpid() if pid is None else pid}"
