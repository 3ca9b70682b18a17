"""Every log line that the code can write, for `reference/logs.md`."""

import ast
import importlib
import inspect
import logging
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from fornada import events

ROOT = Path(__file__).parents[1]
_PACKAGES = ("fornada", "gateway", "model_store", "producer", "trainer", "worker")
_LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "exception": "ERROR",
}
_EVENTS = events.__name__
#: Arguments that are not fields of the line.
_NO_FIELDS = {"about", "exc_info"}

HEAD = """\
# Log lines

Processes log to stderr: JSON lines, or text on a terminal (`FORNADA_LOG_FORMAT`).
`FORNADA_LOG_LEVEL` is the lowest level that is logged, INFO by default. No line, at any level,
shows what callers submit.

```json
{
  "event": "shard finished",
  "job_id": "orders-0001",
  "shard": 3,
  "attempt": "7d0c5ab1f3c94e0c8f5a0e6d2b9c4a11",
  "model": "digits:1",
  "status": "ok",
  "item_count": 4096,
  "failed_count": 0,
  "predict_s": 0.4127,
  "level": "info",
  "logger": "fornada.events",
  "timestamp": "2026-11-29T17:41:03.184467Z"
}
```

- `event` says what happened. A field that is unset or false is left out.
- A worker's lines about a shard have `job_id`, `shard` and `attempt`, those of libraries too.
  `attempt` is also in the shard's outcome and in the key of its data.
- A gateway's lines about a request have `request_id`, which its answer has as `X-Request-Id`.
- With [traces](../operations/traces.md) on, lines have the `trace_id` of the span they belong to.
- A shard that ends has one INFO line, whatever its size. A job has another, unless its only
  shard's line says as much.
- The same line, equal in all but its time, is written once in ten seconds. When it comes again,
  `more_times_since` says how many were left out. Lines of different shards differ. A condition
  that lasts, such as a store that is away, is said again after a minute, then less and less often.

In an application that uses the client, Python's `logging` decides where lines go: the loggers are
`fornada`, `producer` and `model_store`, and fields are attributes of the record.

## Events

Listeners hear of these as classes of `fornada.events`.
"""

CODE_HEAD = """\
## Other lines

*A sentence* says in full what it is about, for whoever runs a command or a script.
"""


class Line(NamedTuple):
    """A line that a module writes itself."""

    text: str
    level: str
    module: str
    fields: tuple[str, ...]


def page(note: str) -> str:
    """`reference/logs.md`."""
    events_rows = ["| Line | Level | Fields | When |", "|---|---|---|---|", *event_rows()]
    lines = ["| Line | Level | Fields | Of |", "|---|---|---|---|"]
    for line in sorted(code_lines()):
        fields = ", ".join(f"`{name}`" for name in line.fields)
        lines.append(f"| {line.text} | {line.level} | {fields} | `{line.module}` |")
    return "\n".join([note, HEAD, *events_rows, "", CODE_HEAD, *lines]) + "\n"


def event_rows() -> Iterator[str]:
    """A row for each event that has a line."""
    for event in logged_events():
        names = ", ".join(f"`{field.name}`" for field in fields(event))
        says = (inspect.getdoc(event) or "").splitlines()[0]
        level = logging.getLevelName(event.level)
        yield f"| {event.text} | {level} | {names} | {says} |"


def logged_events() -> list[type[events.Event]]:
    """The events that have a line, in the order of their modules."""
    for module in pkgutil.iter_modules(events.__path__):
        importlib.import_module(f"{_EVENTS}.{module.name}")
    own = [each for each in events.Event.__subclasses__() if each.__module__.startswith(_EVENTS)]
    return [event for event in own if event.text is not None]


def code_lines() -> set[Line]:
    """The lines that modules write without an event."""
    found: set[Line] = set()
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            found.update(_lines_of(path))
    return found


def _lines_of(path: Path) -> Iterator[Line]:
    text = path.read_text(encoding="utf-8")
    if "get_logger" not in text:
        return
    tree = ast.parse(text)
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    constants = dict(_constants(tree.body))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            own = constants | dict(_constants(ast.walk(function)))
            for node in ast.walk(function):
                found = _written(node)
                if found is not None:
                    level, said, keywords = found
                    yield Line(
                        text=_text(said, own),
                        level=level,
                        module=module,
                        fields=tuple(n for n in keywords if n not in _NO_FIELDS),
                    )


def _constants(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    """Names of texts, those that are imported too."""
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                    yield target.id, node.value.value
        if isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                if each.name.isupper() and node.module.startswith(_PACKAGES):
                    value = getattr(importlib.import_module(node.module), each.name)
                    if isinstance(value, str):
                        yield each.name, value


def _written(node: ast.AST) -> tuple[str, ast.expr, list[str]] | None:
    """Level, text and fields of a call that writes a line: `log.info(…)`, `….log(log.info, …)`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
        return None
    keywords = [keyword.arg or "…" for keyword in node.keywords]
    level = _level(node.func)
    if level is not None:
        return level, node.args[0], keywords
    level = _level(node.args[0]) if node.func.attr == "log" else None
    if level is None or len(node.args) < 2:  # noqa: PLR2004 - the writer, and the text
        return None
    return level, node.args[1], [*keywords, "more_times_since"]


def _level(node: ast.expr) -> str | None:
    """The level of `log.info`, and of its kind."""
    is_of_log = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    return _LEVELS.get(node.attr) if is_of_log and node.value.id == "log" else None


def _text(node: ast.expr, constants: Mapping[str, str]) -> str:
    if isinstance(node, ast.Constant) and "%" not in str(node.value):
        return str(node.value)
    if isinstance(node, ast.Name) and node.id in constants:
        return constants[node.id]
    return "*a sentence*"
