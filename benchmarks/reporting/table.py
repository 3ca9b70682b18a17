"""A run's figures as plain text."""

from collections.abc import Sequence
from typing import Any

from benchmarks.reporting.comparison import rate_text, ratio_text, rows_of
from benchmarks.workloads import WORKLOADS

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
        *(_targets(record, engine) for engine in record["targets"]),
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


def _workload(record: dict[str, Any], workload: str) -> str:
    found = rows_of(record, workload)
    if not found:
        return ""
    contenders = record["contenders"]
    figures = {
        row.name: contenders[row.name]["medians"]["workloads"][workload]
        for row in found
        if row.name is not None
    }
    of_calls = _OF_CALLS if any("p99_ms" in one for one in figures.values()) else ()
    titles = [title for title, _, _ in of_calls]
    rows = [["", "a second", "Fornada's / it", "items a pass", "max abs diff", *titles]]
    for row in found:
        line = [row.label, rate_text(row.rate), "" if row.ratio is None else ratio_text(row.ratio)]
        if row.name is None:
            rows.append([*line, *[""] * (2 + len(of_calls))])
            continue
        diff = contenders[row.name]["max_abs_diff"].get(workload)
        line += [f"{figures[row.name]['items']:,.0f}", "-" if diff is None else f"{diff:.1e}"]
        rows.append(
            [*line, *(_figure(figures[row.name], of, places) for _, of, places in of_calls)]
        )
    return f"{workload}: {WORKLOADS[workload].about}\n{lined_up(rows)}"


def _figure(figures: dict[str, Any], name: str, places: int) -> str:
    return f"{figures[name]:,.{places}f}" if name in figures else "-"


def _starts(record: dict[str, Any]) -> str:
    rows = [["", "cold start s", "memory MiB", "serving MiB"]]
    for name, contender in record["contenders"].items():
        # The limits and the store path have no such start.
        if contender["kind"] in {"peer", "fornada"}:
            figures = contender["medians"]
            serving = figures["service_rss_mib"]
            rows.append(
                [
                    name,
                    f"{figures['cold_start_s']:.1f}",
                    f"{figures['rss_mib']:,.0f}",
                    f"{serving:,.0f}" if serving else "",
                ]
            )
    return f"start of the process to first result, and peak memory of its tree\n{lined_up(rows)}"


def _targets(record: dict[str, Any], engine: str) -> str:
    rows = [["", "found", "floor", "aim", ""]]
    for verdict in record["targets"][engine]:
        value = verdict["value"]
        rows.append(
            [
                f"{verdict['name']}, {verdict['unit']}",
                "-" if value is None else f"{value:,.2f}",
                "-" if verdict["floor"] is None else f"{verdict['floor']:g}",
                "-" if verdict["aim"] is None else f"{verdict['aim']:g}",
                verdict["verdict"],
            ]
        )
    cpu = record["machine"]["cpu"]
    return f"Fornada, {engine}, against its targets on {cpu}\n{lined_up(rows)}"


def _reasons(title: str, reasons: dict[str, str]) -> str:
    return "\n".join(f"{title}: {name}: {reason}" for name, reason in reasons.items())
