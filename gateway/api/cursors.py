"""Cursors: where the next page of a list begins, as text that callers send back unread."""

import base64
import binascii

from fornada import keys
from fornada.coordination.job_index.interface import Position
from fornada.errors import UsageError


def to_cursor(position: Position | None) -> str | None:
    """The cursor of a position among jobs; `None` after the last page."""
    if position is None:
        return None
    text = f"{position.at_ms}.{position.job_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def from_cursor(cursor: str | None) -> Position | None:
    """The position that a cursor names.

    Raises:
        UsageError: It is none of ours.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    at_ms, _, job_id = text.partition(".")
    if not (at_ms.isdecimal() and at_ms.isascii() and len(at_ms) <= 15 and keys.is_name(job_id)):  # noqa: PLR2004 - digits
        raise UsageError(f"cursor {cursor[:80]!r} is none; send `next_cursor` of the page before")
    return Position(int(at_ms), job_id)
