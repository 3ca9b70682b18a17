"""The server's clock is asked once a minute, and told from this machine's in between."""

from datetime import UTC, datetime, timedelta

from fornada.coordination.server_clock import ServerClock

AT = datetime(2026, 1, 1, tzinfo=UTC)


class _Server:
    def __init__(self) -> None:
        self.at = AT
        self.asked = 0

    def server_time(self) -> datetime:
        self.asked += 1
        return self.at


def test_the_time_goes_on_from_what_the_server_said_and_is_asked_again_in_a_minute() -> None:
    server, passed_s = _Server(), 0.0
    clock = ServerClock(server, monotonic=lambda: passed_s)

    seen = []
    for passed_s, set_by_s in ((0, 0), (1, 0), (59, 3600), (60, 3600), (61, 7200)):
        server.at = AT + timedelta(seconds=passed_s + set_by_s)
        seen.append(((clock.now() - AT).total_seconds(), server.asked))

    assert [(0, 1), (1, 1), (59, 1), (3660, 2), (3661, 2)] == seen
    assert server.at == clock.asked()
