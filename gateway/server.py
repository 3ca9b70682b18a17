"""Serve the gateway until a signal ends it."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI

from fornada.errors import StackError
from gateway.http.heads import BoundedHeads
from gateway.live.jobs import LiveJobs

_KEEP_ALIVE_S = 30
_GRACE_S = 30
_MOST_CONNECTIONS = 2048
#: How often connections are looked through, in ticks of uvicorn's, a tenth of a second each.
_LOOK_EVERY_TICKS = 300
#: When what is loaded by then is left out of garbage collection: at once, and once the first
#: requests have loaded the rest.
_LOADED_AT_TICKS = (0, 600)
#: Objects that are new since the last garbage collection when the next one begins: more than
#: requests have while they wait for a worker, which are no garbage.
_COLLECT_AFTER = 20_000


class GatewayServer(uvicorn.Server):
    """A server of the gateway, which ends streams of events before it waits for requests.

    uvicorn closes a connection once all is sent, however long its client reads nothing.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        host: str,
        port: int,
        at_end: Callable[[], object] = lambda: None,
        owns_process: bool = False,
    ) -> None:
        """Serve nothing yet.

        Args:
            app: The gateway.
            host: The address to listen on.
            port: Its port.
            at_end: Called after the last request, before a signal ends the process.
            owns_process: Nothing else runs in this process, so garbage is collected to suit it.
        """
        self._at_end = at_end
        self._live: LiveJobs = app.state.live
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=BoundedHeads,
            log_config=None,
            access_log=False,
            server_header=False,
            # No header of a caller's own is believed; a proxy's address is in nobody's interest.
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
            limit_concurrency=_MOST_CONNECTIONS,
        )
        super().__init__(config)
        self._owns_process = owns_process
        #: Connections that are closing, and the bytes that each had to send at the last look.
        self._closing: dict[Any, int] = {}

    async def on_tick(self, counter: int) -> bool:
        """Every tenth of a second: look after the connections; return whether to end."""
        if self._owns_process and counter in _LOADED_AT_TICKS:
            # Else full collections go through it, and every request waits a tenth of a second.
            gc.set_threshold(_COLLECT_AFTER)
            gc.collect()
            gc.freeze()
        if counter % _LOOK_EVERY_TICKS == 0:
            self._cut_stuck_connections()
        return await super().on_tick(counter)

    def _cut_stuck_connections(self) -> None:
        transports = [each.transport for each in self.server_state.connections]
        closing = {each: each.get_write_buffer_size() for each in transports if each.is_closing()}
        for transport, size_bytes in closing.items():
            if self._closing.get(transport) == size_bytes:
                transport.abort()
        self._closing = closing

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all connections."""
        self._live.close()
        await super().shutdown(sockets)
        await asyncio.to_thread(self._at_end)


def serve(
    app: FastAPI, *, host: str, port: int, at_end: Callable[[], object] = lambda: None
) -> None:
    """Serve `app`; return once a signal has ended it and its requests are answered.

    Args:
        app: The gateway.
        host: The address to listen on.
        port: Its port.
        at_end: Called after the last request.

    Raises:
        StackError: It did not start.
    """
    server = GatewayServer(app, host=host, port=port, at_end=at_end, owns_process=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise StackError("the gateway did not start; its log says why")
