"""The body of a request for a prediction, within its limit."""

from collections.abc import AsyncGenerator

from fastapi import Request

from fornada.errors import FornadaError
from gateway.http.body_limits import MediaTypeError, TooLargeError

#: Of a body. A call has a megabyte of items, which are larger as JSON or as photographs.
MAX_BODY_BYTES = 16 * 1024 * 1024
#: Of a call; each costs time, however small it is.
MOST_ITEMS = 65_536


class NotAcceptableError(FornadaError, fault="caller", http_status=406):
    """An answer cannot be written as the request wants it."""


async def read_body(request: Request) -> bytes:
    """The whole body.

    Raises:
        TooLargeError: It is too large.
    """
    parts = [part async for part in body_parts(request)]
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def body_parts(request: Request) -> AsyncGenerator[bytes, None]:
    """The body as it comes.

    Raises:
        TooLargeError: It is too large; what it declares is looked at first.
    """
    declared = request.headers.get("content-length", "")
    _check_size(int(declared) if declared.isdecimal() else 0)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise MediaTypeError("the body is compressed; send it as it is")
    size_bytes = 0
    async for part in request.stream():
        size_bytes += len(part)
        _check_size(size_bytes)
        if part:
            yield part


def check_item_count(count: int, *, where: str) -> None:
    """Check that a prediction may have so many items.

    Raises:
        TooLargeError: It may not.
    """
    if count > MOST_ITEMS:
        raise TooLargeError(
            f"{where} has {count} items, and a prediction may have {MOST_ITEMS}; send fewer, or "
            "submit a job"
        )


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_BODY_BYTES:
        raise TooLargeError(
            f"the body has {size_bytes} bytes or more, and one of a prediction may have "
            f"{MAX_BODY_BYTES}; send fewer items, or submit a job"
        )
