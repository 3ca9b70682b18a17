"""The contenders of one workload beside Fornada: a bar of the chart, a line of a table."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.photos import workloads as photos
from benchmarks.reporting.targets import MissingFigureError, composed_limit_of

#: With convolutions the store costs almost nothing: one limit suffices.
_COMPOSED = ("mlp", *photos.MODELS)
_TWO, _TEN, _HUNDRED = 2, 10, 100


@dataclass(frozen=True, kw_only=True)
class Row:
    """One rate."""

    #: The contender in the record; `None` of what follows from several.
    name: str | None
    label: str
    #: `fornada`, `peer` or `limit`.
    kind: str
    rate: float
    #: Fornada's rate over this one: of a limit on the same engine, else on the fastest.
    ratio: float | None


def rows_of(record: dict[str, Any], workload: str) -> list[Row]:
    """The rates of the workload, the highest first."""
    ours: dict[str, float] = {}
    for name, figures in _measured(record, workload):
        if record["contenders"][name]["kind"] == "fornada":
            ours[_engine(name)] = max(figures["rate"], ours.get(_engine(name), 0.0))
    fastest = max(ours.values(), default=None)
    rows = []
    for name, figures in _measured(record, workload):
        entry = record["contenders"][name]
        label, kind = entry["label"], entry["kind"]
        base = {"fornada": None, "limit": ours.get(_engine(name))}.get(kind, fastest)
        rows.append(_row(label, kind, figures["rate"], base, name=name))
        if "steady_rate" in figures:
            rows.append(_row(f"{label}, steady", kind, figures["steady_rate"], base))
    rows += [
        _row(f"composed limit, {engine}", "limit", limit, ours.get(engine))
        for engine, limit in _composed(record, workload)
    ]
    return sorted(rows, key=lambda row: -row.rate)


def _measured(record: dict[str, Any], workload: str) -> Iterator[tuple[str, dict[str, float]]]:
    for name, entry in record["contenders"].items():
        figures = entry["medians"]["workloads"].get(workload)
        # The store path alone is a part of the composed limit.
        if figures is not None and entry["kind"] != "store":
            yield name, figures


def _engine(name: str) -> str:
    """The engine of a limit or of Fornada: the end of its name."""
    return name.rpartition("-")[2]


def _composed(record: dict[str, Any], workload: str) -> Iterator[tuple[str, float]]:
    medians = {name: entry["medians"] for name, entry in record["contenders"].items()}
    for engine in record["targets"] if workload in _COMPOSED else ():
        with contextlib.suppress(MissingFigureError):
            yield engine, composed_limit_of(medians, workload, engine)


def _row(label: str, kind: str, rate: float, base: float | None, name: str | None = None) -> Row:
    ratio = None if base is None else base / rate
    return Row(name=name, label=label, kind=kind, rate=rate, ratio=ratio)


def rate_text(value: float) -> str:
    """Items/s with three or four digits: `294 k`, `11.8 k`, `2,300`, `15.9`."""
    for least, text in ((1e5, f"{value / 1e3:,.0f} k"), (1e4, f"{value / 1e3:.1f} k")):
        if value >= least:
            return text
    return f"{value:,.0f}" if value >= _HUNDRED else f"{value:.1f}"


def ratio_text(value: float) -> str:
    """A ratio with two or three digits: `0.95`, `1.86`, `4.5`, `288`."""
    if value < _TWO:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < _TEN else f"{value:,.0f}"
