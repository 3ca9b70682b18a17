"""A run's figures as plain text."""

from collections.abc import Sequence
from typing import Any

from benchmarks.reporting.targets import MissingFigureError, composed_limit_of
from benchmarks.workloads import WORKLOADS

_HUNDRED = 100
#: Figures of calls: title, name and decimal places.
_OF_CALLS = (("p50 ms", "p50_ms", 1), ("p99 ms", "p99_ms", 1), ("CPU us", "cpu_us", 0))


def report_of(record: dict[str, Any]) -> str:
    """The report of a run."""
    machine = record["machine"]
    parts = [
        (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
            f"{machine['system']}, Python {machine['python']}; "
            f"{record['sizes']['rounds']} round(s); load before {record['load_before']:.1f}"
        ),
        *(_workload(record, workload) for workload in WORKLOADS),
        _starts(record),
        *(_targets(engine, rows) for engine, rows in record["targets"].items()),
        _reasons("left out", record["left_out"]),
        _reasons("FAILED", record["failed"]),
    ]
    return "\n\n".join(part for part in parts if part)


def lined_up(rows: Sequence[Sequence[str]]) -> str:
    """Align rows: the first column to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def rate(value: float) -> str:
    """Items/s with three or four digits: `294 k`, `11.8 k`, `2,300`, `15.9`."""
    for least, text in ((1e5, f"{value / 1e3:,.0f} k"), (1e4, f"{value / 1e3:.1f} k")):
        if value >= least:
            return text
    return f"{value:,.0f}" if value >= _HUNDRED else f"{value:.1f}"


def _workload(record: dict[str, Any], workload: str) -> str:
    found = [
        (name, contender["medians"]["workloads"][workload])
        for name, contender in record["contenders"].items()
        if workload in contender["medians"].get("workloads", {})
    ]
    if not found:
        return ""
    has_latency = any("p99_ms" in figures for _, figures in found)
    of_calls = _OF_CALLS if has_latency else ()
    empty = [""] * len(of_calls)
    rows = [["", "items/s", "items a pass", "max abs diff", *(title for title, _, _ in of_calls)]]
    for name, figures in sorted(found, key=lambda pair: -float(pair[1]["rate"])):
        label = record["contenders"][name]["label"]
        diff = record["contenders"][name]["max_abs_diff"].get(workload)
        rows.append(
            [
                label,
                rate(figures["rate"]),
                f"{figures['items']:,.0f}",
                "-" if diff is None else f"{diff:.1e}",
                *(_figure(figures, figure, places) for _, figure, places in of_calls),
            ]
        )
        if "steady_rate" in figures:
            rows.append([f"{label}, steady", rate(figures["steady_rate"]), "", "", *empty])
    rows += [[*row, *empty] for row in _composed(record, workload)]
    return f"{workload}: {WORKLOADS[workload]}\n{lined_up(rows)}"


def _figure(figures: dict[str, Any], name: str, places: int) -> str:
    return f"{figures[name]:,.{places}f}" if name in figures else "-"


def _composed(record: dict[str, Any], workload: str) -> list[list[str]]:
    medians = {name: one["medians"] for name, one in record["contenders"].items()}
    rows = []
    for engine in record["targets"]:
        try:
            limit = composed_limit_of(medians, workload, engine)
        except MissingFigureError:
            continue
        rows.append([f"composed limit, {engine}: store and compute", rate(limit), "", ""])
    return rows


def _starts(record: dict[str, Any]) -> str:
    rows = [["", "cold start s", "memory MiB", "serving MiB"]]
    for contender in record["contenders"].values():
        # The limits and the store path have no such start.
        if contender["kind"] in {"peer", "fornada"}:
            figures = contender["medians"]
            serving = figures["service_rss_mib"]
            rows.append(
                [
                    contender["label"],
                    f"{figures['cold_start_s']:.1f}",
                    f"{figures['rss_mib']:,.0f}",
                    f"{serving:,.0f}" if serving else "",
                ]
            )
    return f"start of the process to first result, and peak memory of its tree\n{lined_up(rows)}"


def _targets(engine: str, verdicts: Sequence[dict[str, Any]]) -> str:
    rows = [["", "found", "floor", "aim", ""]]
    for verdict in verdicts:
        value = verdict["value"]
        rows.append(
            [
                f"{verdict['name']}, {verdict['unit']}",
                "-" if value is None else f"{value:,.2f}",
                f"{verdict['floor']:g}",
                f"{verdict['aim']:g}",
                verdict["verdict"],
            ]
        )
    return f"Fornada, {engine}, against its targets\n{lined_up(rows)}"


def _reasons(title: str, reasons: dict[str, str]) -> str:
    return "\n".join(f"{title}: {name}: {reason}" for name, reason in reasons.items())
