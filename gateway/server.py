"""Serve the gateway until a signal ends it."""

import uvicorn
from starlette.types import ASGIApp

from gateway.http.heads import BoundedHeads

_KEEP_ALIVE_S = 30
_GRACE_S = 30
_MOST_CONNECTIONS = 2048


def serve(app: ASGIApp, *, host: str, port: int) -> None:
    """Serve `app`; return once a signal has ended it and its requests are answered.

    Args:
        app: The gateway.
        host: The address to listen on.
        port: Its port.
    """
    uvicorn.run(
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
