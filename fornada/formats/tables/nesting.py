"""How deep JSON is nested, looked at before a parser that calls itself for each level."""

from typing import Any

import numpy as np

from fornada.errors import InputError

#: No item has more sides than half of them.
MOST_LEVELS = 64

_OTHERS = bytes(set(range(256)) - set(b'"[]{}'))


class ShallowJson:
    """A stream of JSON that ends with an error where it is nested too deep.

    pyarrow's parser overflows the stack, which ends the process.
    """

    closed = False

    def __init__(self, stream: Any, *, where: str) -> None:
        self._stream = stream
        self._where = where
        self._level = 0
        self._in_text = False
        #: The bytes so far end in a backslash that escapes what comes next.
        self._in_escape = False

    def readable(self) -> bool:
        """As any stream to read from."""
        return True

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            InputError: They are nested too deep.
        """
        data: bytes = self._stream.read(size)
        if data:
            self._follow(data)
        return data

    def _follow(self, data: bytes) -> None:
        plain = (b"\\" + data if self._in_escape else data).replace(b"\\\\", b"  ")
        plain = plain.replace(b'\\"', b"  ")
        self._in_escape = plain.endswith(b"\\")
        marks = np.frombuffer(plain.translate(None, _OTHERS), np.uint8)
        if not len(marks):
            return
        in_text = np.bitwise_xor.accumulate(marks == ord('"')) ^ self._in_text
        steps = np.isin(marks, list(b"[{")).astype(np.int8) - np.isin(marks, list(b"]}"))
        levels = self._level + np.cumsum(np.where(in_text, 0, steps), dtype=np.int32)
        if levels.max() > MOST_LEVELS:
            raise InputError(
                f"{self._where} is nested more than {MOST_LEVELS} levels deep; flatten it"
            )
        self._level, self._in_text = int(levels[-1]), bool(in_text[-1])
