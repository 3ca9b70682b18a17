"""Find in a log what was submitted, however it was written."""

import base64
import json
from collections.abc import Iterator, Mapping

#: Long enough to stand nowhere by chance, short enough for what is cut after a line.
_WINDOW_BYTES = 15


def found_in(log: bytes, submitted: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """Which of what was submitted stands in the log, and how."""
    return [
        (name, writing)
        for name, data in submitted.items()
        for first in range(0, len(data) - _WINDOW_BYTES + 1, max(1, len(data) // 7))
        for writing in _writings(data[first : first + _WINDOW_BYTES])
        if writing in log
    ]


def _writings(data: bytes) -> Iterator[bytes]:
    """What these bytes look like in a log: raw, escaped, in hex, as numbers, in base64."""
    numbers = [str(byte) for byte in data]
    yield data
    yield data.hex().encode()
    yield repr(data)[2:-1].encode()
    yield json.dumps(data.decode("latin-1"))[1:-1].encode()
    for separator in (", ", " ", ","):
        yield separator.join(numbers).encode()
    yield from _in_base64(data)
    # The body of a message is base64, of a manifest with the inputs in base64.
    for inner in _in_base64(data):
        yield from _in_base64(inner)


def _in_base64(data: bytes) -> Iterator[bytes]:
    """Base64 of the whole triplets in `data`, however they lie in what is around it."""
    for first in range(3):
        whole = data[first : first + (len(data) - first) // 3 * 3]
        yield base64.b64encode(whole)
