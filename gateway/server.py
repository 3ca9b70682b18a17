"""Serve the gateway until a signal ends it."""

import uvicorn
from fastapi import FastAPI

#: Of the line and the headers of a request, in bytes.
_MAX_HEAD_BYTES = 16 * 1024
_KEEP_ALIVE_S = 30
_GRACE_S = 30
_MOST_CONNECTIONS = 2048


def serve(app: FastAPI, *, host: str, port: int) -> None:
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
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        limit_concurrency=_MOST_CONNECTIONS,
    )
