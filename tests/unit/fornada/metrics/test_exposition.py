"""Metrics are served at a port of their own, without prometheus-client not at all."""

import socket
import struct
import sys
from urllib.request import urlopen

import pytest

from fornada.errors import ConfigError, MissingExtraError
from fornada.events.serving import WebhookCalled
from fornada.metrics import server
from fornada.metrics.process import gateway_metrics
from fornada.metrics.requirement import require_metrics
from fornada.settings import Settings


def test_what_was_counted_is_served_until_the_process_ends() -> None:
    port = _free_port()
    url = f"http://127.0.0.1:{port}/metrics"

    with gateway_metrics(Settings(metrics_port=port)) as metrics:
        metrics.hear(WebhookCalled(result="gone"))
        with urlopen(url, timeout=10) as answer:
            text = answer.read().decode()

    assert 'fornada_webhook_deliveries_total{result="gone"} 1.0\n' in text
    assert "_created" not in text
    with pytest.raises(OSError, match="refused"):
        urlopen(url, timeout=10)


def test_scrapers_that_go_away_or_send_nothing_are_dropped_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server._Handler, "timeout", 0.2)
    port = _free_port()

    with gateway_metrics(Settings(metrics_port=port)):
        with socket.create_connection(("127.0.0.1", port)) as broken:
            broken.sendall(b"GET /metrics HTTP/1.1\r\n")
            # Closed with a reset.
            broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
            assert b"" == silent.recv(1)
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert 200 == answer.status

    # What socketserver says of an error, with a traceback.
    assert "Exception occurred" not in capfd.readouterr().err


def test_a_port_that_is_taken_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        expected = (
            f"FORNADA_METRICS_PORT={port} on 127.0.0.1 cannot be listened on (Address already in "
            "use); name another port, or an address of this machine in FORNADA_METRICS_HOST"
        )
        with pytest.raises(ConfigError) as refused, gateway_metrics(Settings(metrics_port=port)):
            pass

    assert expected == str(refused.value)


def test_without_prometheus_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'fornada\[metrics\]', or unset it"):
        require_metrics()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
