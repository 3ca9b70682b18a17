"""A run's figures as one page of charts, a panel a workload."""

import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measuring.machine import cpu_name
from benchmarks.photos import workloads as photos
from benchmarks.reporting.comparison import Row, rate_text, ratio_text, rows_of
from benchmarks.workloads import WORKLOADS

#: Of Okabe and Ito's palette, which colour-blind readers can tell apart; greys differ in lightness.
_COLORS = {"fornada": "#0072B2", "peer": "#8C8C8C", "limit": "#F0D9A8"}
_MEANING = {
    "fornada": "Fornada",
    "peer": "others",
    "limit": "limits: in-process, arrays in RAM; composed, store plus engine",
}
_INK, _FAINT, _LINE = "#24292F", "#57606A", "#B8BFC6"
_TIMES = "\N{MULTIPLICATION SIGN}"
_DPI = 150
_WIDTH_IN, _COLUMNS = 11.0, 2
_BAR_IN, _HEAD_IN = 0.235, 0.62
_TOP_IN, _FOOT_IN = 0.72, 0.62
#: Of a column's width: its names to the left, a margin among them, and its ratios to the right.
_NAMES, _RATIOS, _MARGIN = 0.34, 0.09, 0.04
#: To the right of the longest bar, for its figure.
_ROOM = 1.22
_PACKAGES = (
    "tensorflow-cpu",
    "keras",
    "openvino",
    "jax",
    "ray",
    "bentoml",
    "litserve",
    "mlserver",
    "celery",
)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One workload and its bars, the longest first."""

    title: str
    subtitle: str
    rows: list[Row]

    @property
    def height_in(self) -> float:
        """Title and bars."""
        return _HEAD_IN + len(self.rows) * _BAR_IN


def panels_of(record: dict[str, Any]) -> list[Panel]:
    """A panel for each workload that the record has rates of."""
    found = []
    for name, workload in WORKLOADS.items():
        rows = rows_of(record, name)
        if name in photos.MODELS:
            # Without decoding, the engine alone would dwarf all others.
            rows = [row for row in rows if row.kind != "limit" or row.name is None]
        if rows and workload.title is not None:
            subtitle = f"{workload.unit} · {workload.about}"
            found.append(Panel(title=workload.title, subtitle=subtitle, rows=rows))
    return found


def draw(record: dict[str, Any]) -> bytes:
    """The page as PNG."""
    from matplotlib import rc_context  # noqa: PLC0415 - seconds, after all that is measured
    from matplotlib.figure import Figure  # noqa: PLC0415 - ditto

    columns = _in_columns(panels_of(record))
    height = _TOP_IN + max(_height(column) for column in columns) + _FOOT_IN
    with rc_context({"font.family": "DejaVu Sans", "text.color": _INK}):
        figure = Figure(figsize=(_WIDTH_IN, height), dpi=_DPI, facecolor="white")
        _draw_head(figure, record, height)
        for number, column in enumerate(columns):
            below = height - _TOP_IN
            for panel in column:
                below -= panel.height_in
                left = (number + _NAMES) / _COLUMNS
                width = (1 - _NAMES - _RATIOS) / _COLUMNS
                bars_in = len(panel.rows) * _BAR_IN
                _draw_panel(figure.add_axes((left, below / height, width, bars_in / height)), panel)
        figure.text(0.02, 0.14 / height, _footer(record), fontsize=7, color=_FAINT, va="bottom")
        file = io.BytesIO()
        # Without the version of Matplotlib: the same figures give the same bytes.
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _in_columns(panels: Sequence[Panel]) -> list[list[Panel]]:
    """The panels in order, each in the column that is shortest so far."""
    columns: list[list[Panel]] = [[] for _ in range(_COLUMNS)]
    for panel in panels:
        min(columns, key=_height).append(panel)
    return columns


def _height(column: Sequence[Panel]) -> float:
    return sum(panel.height_in for panel in column)


def _draw_head(figure: Any, record: dict[str, Any], height: float) -> None:
    cores, cpu = record["machine"]["cores"], cpu_name(record["machine"])
    day = dt.date.fromisoformat(record["date"][:10])
    title = f"Fornada and others on {cores} cores of {cpu}, {day.day} {day:%B %Y}"
    figure.text(0.02, 1 - 0.18 / height, title, fontsize=13, weight="bold", va="top")
    left = 0.02
    for kind, meaning in _MEANING.items():
        swatch = figure.add_axes((left, 1 - 0.68 / height, 0.016, 0.12 / height))
        swatch.set_facecolor(_COLORS[kind])
        swatch.set(xticks=[], yticks=[])
        _plain(swatch)
        written = figure.text(
            left + 0.021, 1 - 0.62 / height, meaning, fontsize=8, va="center", color=_FAINT
        )
        left += 0.05 + 0.0058 * len(written.get_text())
    figure.text(
        0.98,
        1 - 0.62 / height,
        f"1.9{_TIMES}  Fornada's rate divided by this one",
        fontsize=8,
        va="center",
        ha="right",
        color=_FAINT,
    )


def _draw_panel(axis: Any, panel: Panel) -> None:
    longest = max(row.rate for row in panel.rows)
    count = len(panel.rows)
    axis.barh(
        range(count),
        [row.rate for row in panel.rows],
        color=[_COLORS[row.kind] for row in panel.rows],
        height=0.74,
    )
    axis.set(xlim=(0, longest * _ROOM), ylim=(count - 0.5, -0.5))
    axis.set_yticks(range(count), [row.label for row in panel.rows])
    for number, (row, label) in enumerate(zip(panel.rows, axis.get_yticklabels(), strict=True)):
        weight = "bold" if row.kind == "fornada" else "normal"
        label.set(weight=weight)
        at = row.rate + longest * 0.015
        axis.text(at, number, rate_text(row.rate), va="center", fontsize=8, weight=weight)
        if row.ratio is not None:
            axis.text(
                1 + _RATIOS * 1.4,
                number,
                f"{ratio_text(row.ratio)}{_TIMES}",
                transform=axis.get_yaxis_transform(),
                va="center",
                ha="right",
                fontsize=8,
                color=_FAINT,
            )
    left = -(_NAMES - _MARGIN) / (1 - _NAMES - _RATIOS)
    axis.text(left, 1.0, panel.title, transform=_above(axis, 16), fontsize=9.5, weight="bold")
    axis.text(left, 1.0, panel.subtitle, transform=_above(axis, 5), fontsize=7, color=_FAINT)
    axis.tick_params(left=False, bottom=False, labelbottom=False, labelsize=8)
    _plain(axis)
    axis.spines["left"].set(visible=True, color=_LINE)


def _plain(axis: Any) -> None:
    for side in axis.spines.values():
        side.set_visible(False)


def _above(axis: Any, points: float) -> Any:
    """The axis's own coordinates, shifted up by `points`."""
    from matplotlib.transforms import ScaledTranslation  # noqa: PLC0415 - ditto

    return axis.transAxes + ScaledTranslation(0, points / 72, axis.figure.dpi_scale_trans)


def _footer(record: dict[str, Any]) -> str:
    versions: dict[str, str] = {}
    for contender in record["contenders"].values():
        versions |= contender["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in _PACKAGES if name in versions)
    return (
        f"Medians of {record['sizes']['rounds']} rounds. Servers and contenders share the cores. "
        "Ratios: of a limit to Fornada on the same engine, of others to its fastest.\n"
        f"Fornada {record['fornada']}, {named}"
    )
