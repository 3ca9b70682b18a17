"""multipart/form-data as it comes: nothing of it is held."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fornada.errors import FornadaError


class FormError(FornadaError, ValueError, fault="caller"):
    """A request is no form, or not the one that is wanted."""


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part of the form, whose bytes follow."""

    name: str
    #: `None` for a field.
    filename: str | None


@dataclass(frozen=True, slots=True)
class PartEnds:
    """All bytes of the part came."""


FormEvent = PartBegins | bytes | PartEnds


def boundary_of(content_type: str) -> bytes:
    """What separates the parts.

    Raises:
        FormError: The header names none.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise FormError("Content-Type has no boundary; let your HTTP client write the form")
    return boundary


async def form_events(body: AsyncIterator[bytes], *, boundary: bytes) -> AsyncIterator[FormEvent]:
    """The parts of a form, in order, and their bytes as they come.

    Raises:
        FormError: It is no form, or ends early.
    """
    events: list[FormEvent] = []
    reader = _Reader(events)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        async for chunk in body:
            parser.write(chunk)
            for event in events:
                yield event
            events.clear()
    except FormParserError as exc:
        raise FormError(f"the body is no multipart/form-data ({exc})") from exc
    if not reader.has_ended:
        raise FormError("the form ends before its last boundary; send all of it")


class _Reader:
    """Turns the parser's callbacks into events."""

    def __init__(self, events: list[FormEvent]) -> None:
        self._events = events
        self._name = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self.has_ended = False

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._headers,
            "on_part_data": lambda data, start, end: self._events.append(bytes(data[start:end])),
            "on_part_end": lambda: self._events.append(PartEnds()),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._disposition = b""

    def _header(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _headers(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name, filename = options.get(b"name"), options.get(b"filename")
        if kind != b"form-data" or name is None:
            raise FormError("a part of the form has no name; send Content-Disposition: form-data")
        self._events.append(
            PartBegins(
                name.decode(errors="replace"),
                None if filename is None else filename.decode(errors="replace"),
            )
        )

    def _end(self) -> None:
        self.has_ended = True
