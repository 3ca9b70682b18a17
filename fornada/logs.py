"""Structured logs through Python's logging, so that an application that embeds us controls them.

Our own processes call `configure`: lines are readable on a terminal, and JSON elsewhere.
"""

import logging
import sys
from typing import Literal, cast

import structlog

from fornada.trust.printable import printable_lines


def configure(*, level: str, log_format: Literal["auto", "console", "json"]) -> None:
    """Send all log lines, including those of libraries, to stderr in one format."""
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
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Without the values of variables, which may be secrets.
                structlog.processors.format_exc_info,
                *([_as_text] if console else []),
                renderer,
            ],
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(level)


def _as_text(
    _logger: object, _method: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """What others wrote moves no cursor; the renderer shows what is no string by its `repr`."""
    return {
        name: printable_lines(value) if isinstance(value, str) else value
        for name, value in fields.items()
    }


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
