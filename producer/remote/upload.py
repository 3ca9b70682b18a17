"""Files as the body of one request, streamed from the disk."""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fornada.errors import InputError

_CHUNK_BYTES = 256 * 1024


class Part(NamedTuple):
    """A file of a request."""

    #: Its name there, such as `shoes/7.jpg`.
    name: str
    path: Path


class MultipartBody:
    """A `multipart/form-data` body: a JSON field `request`, if there is one, then files."""

    def __init__(self, request: Mapping[str, Any] | None, parts: Iterable[Part]) -> None:
        self._request = request
        self._parts = parts
        self._boundary = secrets.token_hex(16)

    @property
    def content_type(self) -> str:
        """The header of the request."""
        return f"multipart/form-data; boundary={self._boundary}"

    def __iter__(self) -> Iterator[bytes]:
        """The body, in chunks.

        Raises:
            InputError: A file cannot be read.
        """
        if self._request is not None:
            yield self._head('name="request"', "application/json")
            yield json.dumps(self._request).encode() + b"\r\n"
        for part in self._parts:
            yield self._head(
                f'name="file"; filename="{_quoted(part.name)}"', "application/octet-stream"
            )
            try:
                with part.path.open("rb") as file:
                    while chunk := file.read(_CHUNK_BYTES):
                        yield chunk
            except OSError as exc:
                raise InputError(f"{part.path} cannot be read: {exc.strerror or exc}") from exc
            yield b"\r\n"
        yield f"--{self._boundary}--\r\n".encode()

    def _head(self, disposition: str, content_type: str) -> bytes:
        lines = (
            f"--{self._boundary}",
            f"Content-Disposition: form-data; {disposition}",
            f"Content-Type: {content_type}",
        )
        return "\r\n".join([*lines, "", ""]).encode()


def _quoted(name: str) -> str:
    """A file's name as HTML writes it in a form (WHATWG, multipart/form-data encoding)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
