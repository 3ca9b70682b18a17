"""PromQL, read: which series and labels a query asks for."""

from collections.abc import Iterator, Mapping, Sequence

import promql_parser
from promql_parser import AggregateExpr, VectorSelector

#: What Prometheus itself adds to every series.
_TARGET = {"job", "instance"}

#: A series → its labels.
Known = Mapping[str, Sequence[str]]


def flaws(query: str, *, known: Known) -> Iterator[str]:
    """What a query asks for and nobody exposes: series, and labels of those.

    Raises:
        ValueError: It is no PromQL.
    """
    found: list[str] = []

    def visit(part: promql_parser.Expr) -> bool:
        if isinstance(part, VectorSelector):
            found.extend(_flaws_of_selector(part, known=known))
        elif isinstance(part, AggregateExpr) and part.modifier is not None:
            # What is aggregated has the labels of all series in it.
            labels = {label for name in names(part.expr) for label in known.get(name, ())}
            grouped = set(part.modifier.labels) - labels - _TARGET
            found.extend(f"{query}: no series has label {label}" for label in grouped)
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    yield from found


def names(expression: promql_parser.Expr) -> set[str]:
    """The series that an expression reads."""
    found: set[str] = set()

    def visit(part: promql_parser.Expr) -> bool:
        if isinstance(part, VectorSelector):
            found.add(part.name or "")
        return True

    promql_parser.walk(expression, visit)
    return found


def _flaws_of_selector(selector: VectorSelector, *, known: Known) -> Iterator[str]:
    if selector.name not in known:
        yield f"nobody exposes {selector.name}"
        return
    for matcher in selector.matchers.matchers:
        if matcher.name not in {*known[selector.name], *_TARGET}:
            yield f"{selector.name} has no label {matcher.name}"
