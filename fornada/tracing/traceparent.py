"""The W3C `traceparent`: 55 characters that name a span to other processes."""

import re

#: Its name as a header of messages.
HEADER = "traceparent"
TRACEPARENT_CHARACTERS = 55
_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def checked_traceparent(value: object) -> str | None:
    """`value` if it is one. Anyone may send another, which is no reason to do less work."""
    return value if isinstance(value, str) and _FORM.fullmatch(value) else None
