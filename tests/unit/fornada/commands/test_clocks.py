"""`fornada doctor` compares the clocks."""

from datetime import UTC, datetime, timedelta

from fornada.commands.doctor.clocks import clock_findings
from fornada.errors import BrokerError

AT = datetime(2026, 1, 1, tzinfo=UTC)


class _Server:
    def __init__(self, ahead_s: float | None) -> None:
        self._ahead_s = ahead_s

    def server_time(self) -> datetime:
        if self._ahead_s is None:
            raise BrokerError("away")
        return AT + timedelta(seconds=self._ahead_s)


def test_servers_whose_clocks_differ_from_ours_or_from_each_other_are_told() -> None:
    for redis_s, store_s, status, said in (
        (0.0, -0.9, "ok", "Redis +0.0 s, store -0.9 s against this machine's"),
        (3600.0, 0.0, "warn", "Redis +3600.0 s, store +0.0 s against this machine's; deadlines"),
        (3.0, -3.0, "warn", "Redis +3.0 s, store -3.0 s against this machine's; deadlines"),
        (None, -601.0, "warn", "store -601.0 s against this machine's; deadlines"),
        (None, None, "skip", "no server says what time it is"),
    ):
        servers = {"Redis": _Server(redis_s), "store": _Server(store_s)}

        (finding,) = clock_findings(servers, own=lambda: AT)

        assert (status, True) == (finding.status, finding.detail.startswith(said))
