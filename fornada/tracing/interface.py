"""Spans as Fornada's own code begins them."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

Value = str | int | float | bool
#: `client` and `server` wait for each other, `producer` and `consumer` do not.
Kind = Literal["internal", "client", "server", "producer", "consumer"]


class Traces(Protocol):
    """Where spans go. A span belongs to the one that is current in its thread or task."""

    def span(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        attributes: Mapping[str, Value] | None = None,
        links: Sequence[str] = (),
        is_root: bool = False,
    ) -> AbstractContextManager[None]:
        """A span around the block, current in it; an error that leaves the block is recorded.

        Args:
            name: One of few.
            kind: Its kind.
            attributes: What it is about.
            links: The `traceparent` of spans that caused it and do not wait for it.
            is_root: Whether it begins a trace of its own.
        """

    def past(
        self,
        name: str,
        *,
        duration_s: float,
        ago_s: float = 0.0,
        kind: Kind = "internal",
        attributes: Mapping[str, Value] | None = None,
        links: Sequence[str] = (),
        parent: str | None = None,
        error: str | None = None,
    ) -> None:
        """A span that has ended.

        Args:
            name: As of `span`.
            duration_s: How long it took.
            ago_s: How long ago it ended.
            kind: As of `span`.
            attributes: As of `span`.
            links: As of `span`.
            parent: The `traceparent` of the span that it belongs to; by default the current one.
            error: Why it failed, if it did.
        """

    def note(self, attributes: Mapping[str, Value], *, error: str | None = None) -> None:
        """Add to the current span; with `error`, it failed."""

    def happened(self, what: str, attributes: Mapping[str, Value]) -> None:
        """Note a moment of the current span."""

    def traceparent(self) -> str | None:
        """The current span, for another process."""

    def trace_id(self) -> str | None:
        """The trace of the current span, in 32 hex digits."""


class NoTraces:
    """Nobody asked for traces."""

    def span(self, name: str, **_: object) -> AbstractContextManager[None]:  # noqa: ARG002 - as the interface has it
        """No span."""
        return nullcontext()

    def past(self, name: str, **_: object) -> None:
        """No span."""

    def note(self, attributes: Mapping[str, Value], *, error: str | None = None) -> None:
        """Nothing."""

    def happened(self, what: str, attributes: Mapping[str, Value]) -> None:
        """Nothing."""

    def traceparent(self) -> None:
        """None is current."""

    def trace_id(self) -> None:
        """None is current."""


NO_TRACES = NoTraces()
