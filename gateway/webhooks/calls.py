"""Call a webhook: one POST, to addresses that were looked at, within a time."""

import functools
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import httpcore2

from gateway.webhooks.addresses import Addresses, Target
from gateway.webhooks.errors import WebhookCallError

#: For all of a call: to find the host, to connect, to send and to hear the status.
CALL_WITHIN_S = 15.0


class WebhookCalls:
    """Calls webhooks. Redirects are not followed, and of an answer the status alone is read."""

    def __init__(
        self,
        addresses: Addresses,
        *,
        within_s: float = CALL_WITHIN_S,
        tls: Callable[[], ssl.SSLContext] = httpcore2.default_ssl_context,
    ) -> None:
        self._addresses = addresses
        self._within_s = within_s
        # Reading the authorities takes 20 ms.
        self._tls = functools.cache(tls)

    def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> int:
        """Send `body`; return the status of the answer.

        Raises:
            WebhookCallError: There is no answer, or the host may not be called.
        """
        until = time.monotonic() + self._within_s
        addresses = self._addresses.of(target)
        url = httpcore2.URL(
            scheme=target.scheme, host=target.host, port=target.port, target=target.path
        )
        backend = _Pinned(addresses, until=until)
        try:
            with (
                httpcore2.ConnectionPool(ssl_context=self._tls(), network_backend=backend) as pool,
                pool.stream(
                    "POST", url, headers=[*headers.items(), ("Host", _host(target))], content=body
                ) as answer,
            ):
                return answer.status
        except httpcore2.TimeoutException as exc:
            raise WebhookCallError(f"no answer within {self._within_s:g} s") from exc
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as exc:
            why = str(exc) or type(exc).__name__
            raise WebhookCallError(f"no answer ({why[:200]})") from exc


def _host(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    is_usual = target.port == {"http": 80, "https": 443}[target.scheme]
    return host if is_usual else f"{host}:{target.port}"


class _Pinned(httpcore2.NetworkBackend):
    """Connects to the given addresses alone, whatever the host's name means by now."""

    def __init__(self, addresses: Iterable[str], *, until: float) -> None:
        self._addresses = list(addresses)
        self._until = until
        self._backend = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - what it means was decided before
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - there is one for all
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        failure: Exception = httpcore2.ConnectError("it has no address")
        for address in self._addresses:
            try:
                stream = self._backend.connect_tcp(
                    address, port, _left_s(self._until), local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as exc:
                failure = exc
            else:
                return _Timed(stream, until=self._until)
        raise failure


class _Timed(httpcore2.NetworkStream):
    """A connection all of whose steps share one time: else an answer could drip for days."""

    def __init__(self, stream: httpcore2.NetworkStream, *, until: float) -> None:
        self._stream = stream
        self._until = until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - as above
        return self._stream.read(max_bytes, _left_s(self._until))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - as above
        self._stream.write(buffer, _left_s(self._until))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - as above
    ) -> httpcore2.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, _left_s(self._until))
        return _Timed(stream, until=self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left_s(until: float) -> float:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise httpcore2.ReadTimeout
    return left_s
