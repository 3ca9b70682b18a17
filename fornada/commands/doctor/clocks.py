"""Whether the clocks of this machine, Redis and the store agree."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from fornada.commands.doctor.finding import Finding
from fornada.coordination.server_clock import Server
from fornada.errors import FornadaError
from fornada.records import now

#: More than a slow answer and the store's whole seconds explain.
_TOLERATED_S = 5.0


def clock_findings(
    servers: Mapping[str, Server], *, own: Callable[[], datetime] = now
) -> Iterator[Finding]:
    """How far the servers' clocks are ahead of this machine's.

    Args:
        servers: By name; one that does not answer is left out, as its own check says why.
        own: This machine's clock.
    """
    ahead_s: dict[str, float] = {}
    for name, server in servers.items():
        before = own()
        try:
            told = server.server_time()
        except FornadaError:
            continue
        ahead_s[name] = (told - before - (own() - before) / 2).total_seconds()
    if not ahead_s:
        yield Finding("clocks", "skip", "no server says what time it is")
        return
    seen = ", ".join(f"{name} {seconds:+.1f} s" for name, seconds in ahead_s.items())
    apart_s = max(0.0, *ahead_s.values()) - min(0.0, *ahead_s.values())
    if apart_s <= _TOLERATED_S:
        yield Finding("clocks", "ok", f"{seen} against this machine's")
        return
    yield Finding(
        "clocks",
        "warn",
        f"{seen} against this machine's; deadlines go by Redis's clock, purging by the store's, so "
        "set all by NTP",
    )
