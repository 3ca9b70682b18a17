"""Answers that are written while they are sent: a thread writes, and waits for the reader.

An answer that turns out to be wrong after it has begun is cut off: the connection ends without the
last chunk, so that no client takes it for whole.
"""

import asyncio
import contextvars
import tempfile
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, cast

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fornada.errors import FornadaError, LocalDiskError
from fornada.logs import get_logger
from gateway.waited_for import patiently

log = get_logger(__name__)

_CHUNK_BYTES = 1024 * 1024
#: Chunks that wait for the reader.
_MOST_WAITING = 8
#: Answers that are written at a time, each with a thread of its own.
MOST_STREAMS = 256

Chunk = bytes | memoryview
#: Writes an answer.
Write = Callable[[IO[bytes]], None]


class BusyError(FornadaError, fault="transient", http_status=HTTPStatus.SERVICE_UNAVAILABLE):
    """The gateway writes as many answers as it can."""


class ReaderGoneError(Exception):
    """Nobody reads the answer any more."""


class StreamedAnswer(Response):
    """An answer that `write` writes into a file, a few chunks ahead of the client.

    Args:
        write: Called in a thread; its `FornadaError` becomes the answer if nothing was written yet.
        size_bytes: What it writes, if that is known.
        media_type: Of the answer.
        filename: Under which a browser saves it.
        background: Runs after it.
    """

    _streams = threading.BoundedSemaphore(MOST_STREAMS)

    def __init__(
        self,
        write: Write,
        *,
        size_bytes: int | None = None,
        media_type: str,
        filename: str,
        background: BackgroundTask | None = None,
    ) -> None:
        self._write = write
        self.status_code = HTTPStatus.OK
        self.media_type = media_type
        self.background = background
        # With its size, an answer is sent without a copy of each chunk.
        size = {} if size_bytes is None else {"Content-Length": str(size_bytes)}
        self.init_headers(
            {
                "Content-Disposition": f'attachment; filename="{filename}"',
                "X-Content-Type-Options": "nosniff",
                **size,
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI
        """Send it.

        Raises:
            BusyError: There are too many.
            FornadaError: It cannot be written, and nothing was sent.
        """
        if not self._streams.acquire(blocking=False):
            raise BusyError(
                f"the gateway sends {MOST_STREAMS} files already; try again in a moment"
            )
        pipe = _Pipe(asyncio.get_running_loop())
        context = contextvars.copy_context()

        def run() -> None:
            try:
                context.run(pipe.fill, patiently(self._write))
            finally:
                self._streams.release()

        threading.Thread(target=run, name="answer", daemon=True).start()
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await self._send(pipe, gone, send)
        finally:
            gone.cancel()
            pipe.abandon()

    async def _send(self, pipe: "_Pipe", gone: "asyncio.Task[None]", send: Send) -> None:
        chunk = await pipe.next_chunk(gone)
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        try:
            while chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await pipe.next_chunk(gone)
        except ReaderGoneError:
            return
        except FornadaError as exc:
            # Its text says it all.
            log.error("answer cut off", code=type(exc).__name__, error=str(exc))  # noqa: TRY400
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if self.background is not None:
            await self.background()


class _Pipe:
    """A file that one thread writes, and whose chunks an event loop takes."""

    #: Formats that need a temporary file put it beside.
    name = str(Path(tempfile.gettempdir()) / "answer")
    closed = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._chunks: asyncio.Queue[Chunk | Exception] = asyncio.Queue()
        self._room = threading.Semaphore(_MOST_WAITING)
        self._is_abandoned = False
        self._buffer = bytearray()
        self._size_bytes = 0

    def fill(self, write: Write) -> None:
        """Write all; the writer's errors reach the reader."""
        try:
            write(cast("IO[bytes]", self))
            if self._buffer:
                self._pass_on(bytes(self._buffer))
            # The end.
            self._pass_on(b"")
        except ReaderGoneError:
            return
        except FornadaError as exc:
            self._tell(exc)
        except OSError as exc:
            self._tell(LocalDiskError(f"an answer's temporary file: {exc.strerror or exc}"))
        except MemoryError:
            # The reader would wait for ever.
            self._tell(FornadaError("the answer cannot be written (MemoryError)"))
            raise
        except Exception as exc:
            log.exception("answer not written")
            self._tell(FornadaError(f"the answer cannot be written ({type(exc).__name__})"))

    def write(self, data: Any) -> int:
        """Take bytes, as a file does; waits while the reader is far behind."""
        size_bytes = memoryview(data).nbytes
        self._size_bytes += size_bytes
        if len(self._buffer) + size_bytes < _CHUNK_BYTES:
            self._buffer += data
            return size_bytes
        if self._buffer:
            self._pass_on(bytes(self._buffer))
            self._buffer.clear()
        view = memoryview(data).cast("B")
        for start in range(0, size_bytes, _CHUNK_BYTES):
            chunk = view[start : start + _CHUNK_BYTES]
            # What nobody can change, as what came from the store, is sent as it is.
            self._pass_on(chunk if view.readonly else bytes(chunk))
        return size_bytes

    def tell(self) -> int:
        """The bytes that were written."""
        return self._size_bytes

    def flush(self) -> None:
        """Nothing: the end is passed on by itself."""

    def close(self) -> None:
        """Nothing: others may write on."""

    async def next_chunk(self, gone: "asyncio.Task[None]") -> Chunk:
        """The next bytes; none at the end.

        Raises:
            FornadaError: What the writer raised.
            ReaderGoneError: The client is gone.
        """
        if self._chunks.empty():
            taking = asyncio.create_task(self._chunks.get())
            await asyncio.wait({taking, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                taking.cancel()
                raise ReaderGoneError
            chunk = taking.result()
        elif gone.done():
            raise ReaderGoneError
        else:
            chunk = self._chunks.get_nowait()
        if isinstance(chunk, Exception):
            raise chunk
        self._room.release()
        return chunk

    def abandon(self) -> None:
        """End the writer at its next write."""
        self._is_abandoned = True
        for _ in range(2):
            self._room.release()

    def _pass_on(self, chunk: Chunk) -> None:
        self._room.acquire()
        if self._is_abandoned:
            raise ReaderGoneError
        self._tell(chunk)

    def _tell(self, chunk: Chunk | Exception) -> None:
        try:
            self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
        except RuntimeError:
            # The gateway stops.
            raise ReaderGoneError from None


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
