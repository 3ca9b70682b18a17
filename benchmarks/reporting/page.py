"""The figures of docs/performance.md, from a record of `make bench`.

python -m benchmarks.reporting.page            writes those of the newest record into the page
python -m benchmarks.reporting.page RECORD     prints those of a record
"""

import datetime as dt
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from benchmarks.measuring.machine import cpu_name
from benchmarks.reporting.comparison import ratio_text

_ROOT = Path(__file__).parents[2]
RESULTS = _ROOT / "benchmarks" / "results"
PAGE = _ROOT / "docs" / "performance.md"
_BEGIN = "<!-- figures: written by python -m benchmarks.reporting.page -->\n"
_END = "<!-- end of figures -->\n"


@click.command()
@click.argument("record", required=False, type=click.Path(exists=True, path_type=Path))
def main(record: Path | None) -> None:
    """Print the figures of RECORD as Markdown, or write those of the newest into the page.

    Example: python -m benchmarks.reporting.page
    """
    if record is not None:
        print(figures_of(record))
        return
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_figures(page, figures_of(newest())), encoding="utf-8")


def newest() -> Path:
    """The newest record of a whole run."""
    dates = {
        path: record["date"]
        for path in RESULTS.glob("*.json")
        if "-quick" not in path.name
        for record in [json.loads(path.read_bytes())]
        if "targets" in record
    }
    return max(dates, key=lambda path: (dates[path], path.name))


def with_figures(page: str, figures: str) -> str:
    """The page with these figures between its marks."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{figures}{_END}{after}"


def figures_of(path: Path) -> str:
    """The chart and the targets of a record, as Markdown."""
    record = json.loads(path.read_bytes())
    return "\n".join([*_chart(path, record), "", *_targets(record), ""])


def _chart(path: Path, record: Mapping[str, Any]) -> Iterator[str]:
    machine, day = record["machine"], dt.date.fromisoformat(record["date"][:10])
    link = os.path.relpath(path, PAGE.parent)
    where = (
        f"{machine['cores']} cores of {cpu_name(machine)}, {day.day} {day:%B %Y}, medians of "
        f"{record['sizes']['rounds']} rounds"
    )
    yield f"![Rates of Fornada and others: {where}]({link.removesuffix('json')}png)"
    yield ""
    yield f"{where} ([record]({link})):"


def _targets(record: Mapping[str, Any]) -> Iterator[str]:
    engines = list(record["targets"])
    yield f"| Target | Floor | Aim | {' | '.join(f'`{engine}`' for engine in engines)} |"
    yield f"|---|---:|---:|{'---:|' * len(engines)}"
    by_name: dict[str, dict[str, Mapping[str, Any]]] = {}
    for engine, verdicts in record["targets"].items():
        for verdict in verdicts:
            by_name.setdefault(verdict["name"], {})[engine] = verdict
    for name, by_engine in by_name.items():
        unit = next(iter(by_engine.values()))["unit"]
        unit = "" if unit == "x" else f", {unit}"
        floor, aim = (
            " / ".join(dict.fromkeys(_number(verdict[key]) for verdict in by_engine.values()))
            for key in ("floor", "aim")
        )
        found = " | ".join(_found(by_engine.get(engine)) for engine in engines)
        yield f"| {name}{unit} | {floor} | {aim} | {found} |"


def _found(verdict: Mapping[str, Any] | None) -> str:
    """The figure, bold where it misses its floor."""
    if verdict is None or verdict["value"] is None:
        return ""
    text = ratio_text(verdict["value"])
    return f"**{text}**" if verdict["verdict"] == "FAIL" else text


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


if __name__ == "__main__":
    main()
