"""Structured logs through Python's logging, so that an application that embeds us controls them.

Our own processes call `configure`: lines are readable on a terminal, and JSON elsewhere. No line,
at any level, shows what callers submit.
"""

import logging
import sys
import traceback
from contextlib import AbstractContextManager
from typing import Literal, cast

import structlog

from fornada.errors import FornadaError, PredictionError
from fornada.logs.once import Once
from fornada.trust.printable import printable_lines

#: What DEBUG is about. Libraries log from INFO on: below it, botocore shows the objects that it
#: stores, and Pillow what photographs say of themselves.
_OURS = ("fornada", "gateway", "model_store", "producer", "trainer", "worker")
#: What Celery says of every message. We have a line of our own, and its may show the arguments.
_SAID_BY_US = ("celery.app.trace", "celery.worker.strategy")
#: These warn of wrong headers with the caller's text.
_QUOTE_HEADERS = ("opentelemetry.trace", "opentelemetry.baggage")
#: Errors whose texts quote no data. A ValueError may, as in "could not convert string to float".
_QUOTE_NOTHING = (
    FornadaError,
    OSError,
    AttributeError,
    ImportError,
    MemoryError,
    NameError,
    NotImplementedError,
    TypeError,
)


def configure(*, level: str, log_format: Literal["auto", "console", "json"]) -> None:
    """Send all log lines, including those of libraries, to stderr in one format.

    Each has what is `bound` where it is logged. The same line is written once in ten seconds.
    """
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
        )
        if console
        else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                _without_colors,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Without the values of variables, which may be secrets.
                structlog.processors.ExceptionRenderer(_traceback),
                *([_as_text] if console else []),
                renderer,
            ],
        )
    )
    handler.addFilter(Once())
    logging.root.handlers = [handler]
    logging.root.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level]))
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    for name in _SAID_BY_US:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _QUOTE_HEADERS:
        logging.getLogger(name).setLevel(logging.ERROR)


def bound(**ids: str | int) -> AbstractContextManager[None]:
    """Have every line of the block say `ids`, in this thread and those that it hands work to."""
    return structlog.contextvars.bound_contextvars(**ids)


def shown(exc: BaseException) -> str:
    """What a log says of an error: its text, or its class alone if the text may quote data."""
    # A prediction's error has the engine's words.
    if isinstance(exc, _QUOTE_NOTHING) and not isinstance(exc, PredictionError):
        return str(exc) or type(exc).__name__
    return type(exc).__name__


def _traceback(exc_info: structlog.typing.ExcInfo) -> str:
    """An error and what led to it, as Python prints them, with `shown` for their texts."""
    parts: list[str] = []
    exc: BaseException | None = exc_info[1]
    while exc is not None:
        kind, text = type(exc), shown(exc)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        stack = "".join(traceback.format_tb(exc.__traceback__))
        last = name if text == kind.__name__ else f"{name}: {text}"
        parts.append(f"Traceback (most recent call last):\n{stack}{last}")
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    return "\n\nThis led to:\n\n".join(reversed(parts))


def _without_colors(
    _logger: object, _method: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """The line without uvicorn's copy of its text for terminals."""
    fields.pop("color_message", None)
    return fields


def _as_text(
    _logger: object, _method: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """What others wrote moves no cursor; the renderer shows what is no string by its `repr`."""
    return {
        name: _Text(printable_lines(value)) if isinstance(value, str) else value
        for name, value in fields.items()
    }


class _Text(str):
    """Text whose escapes the renderer does not escape again, where it puts quotes around it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"'{self}'"


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module; `log.info("shard finished", shard=3, duration_s=0.41)`.

    Fields become logging's `extra`. structlog's global configuration, which belongs to the
    embedding application, is neither read nor changed.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
    )
    return cast("structlog.stdlib.BoundLogger", logger)
