"""A run's figures as one chart for the README."""

import contextlib
import io
from dataclasses import dataclass
from typing import Any

from benchmarks.reporting.table import rate
from benchmarks.reporting.targets import MissingFigureError, composed_limit_of

_OURS = "#c2571a"
_PEER = "#8d99a6"
_LIMIT = "#d9dee3"
_INK = "#24292f"
_FAINT = "#6b7680"
_DPI = 160
_WIDTH_IN = 8.6
_BAR_IN = 0.27
_TOP_IN = 0.3
_HEAD_IN = 0.68
_FOOT_IN = 0.72
#: Space to the right of the longest bar, for its figure.
_ROOM = 1.12


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar of a panel."""

    label: str
    value: float
    color: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One workload: its bars, the longest last."""

    title: str
    subtitle: str
    bars: list[Bar]


_TITLES = {
    "mlp": ("Store to store, small network", "images/s, objects of {mlp_items:,} 28x28 images"),
    "cnn": ("Store to store, convolutions", "images/s, objects of {cnn_items:,} 32x32x3 images"),
    "photos": ("Photographs, MobileNetV2", "images/s, {photos:,} JPEG objects of 300 to 1,600 px"),
    "photos-cnn": ("Photographs, small network", "images/s, the same objects, to 32x32 pixels"),
    "predict": ("One image a call, 64 callers", "answers/s"),
}


def panels_of(record: dict[str, Any]) -> list[Panel]:
    """The panels that the record has figures for."""
    panels = [_panel(record, workload) for workload in _TITLES]
    return [panel for panel in panels if panel.bars]


def _panel(record: dict[str, Any], workload: str) -> Panel:
    medians = {name: one["medians"] for name, one in record["contenders"].items()}
    bars = []
    for name, contender in record["contenders"].items():
        figures = medians[name]["workloads"].get(workload)
        if figures is None or contender["kind"] == "store":
            continue
        color = {"fornada": _OURS, "limit": _LIMIT}.get(contender["kind"], _PEER)
        bars.append(Bar(label=contender["label"], value=figures["rate"], color=color))
        if "steady_rate" in figures:
            label = f"{contender['label']}, steady"
            bars.append(Bar(label=label, value=figures["steady_rate"], color=color))
    # With convolutions the store costs almost nothing: one limit suffices.
    for engine in record["targets"] if workload == "mlp" else ():
        with contextlib.suppress(MissingFigureError):
            limit = composed_limit_of(medians, workload, engine)
            bars.append(Bar(label=f"store, then {engine}", value=limit, color=_LIMIT))
    title, subtitle = _TITLES[workload]
    ordered = sorted(bars, key=lambda bar: bar.value)
    return Panel(title=title, subtitle=subtitle.format(**record["sizes"]), bars=ordered)


def draw(record: dict[str, Any]) -> bytes:
    """The chart as PNG."""
    from matplotlib import rc_context  # noqa: PLC0415 - seconds, after all that is measured
    from matplotlib.figure import Figure  # noqa: PLC0415 - ditto

    panels = panels_of(record)
    heights = [len(panel.bars) * _BAR_IN for panel in panels]
    height = _TOP_IN + sum(heights) + len(panels) * _HEAD_IN + _FOOT_IN
    with rc_context({"font.family": "DejaVu Sans", "text.color": _INK}):
        figure = Figure(figsize=(_WIDTH_IN, height), dpi=_DPI, facecolor="white")
        top = 1 - 0.16 / height
        figure.text(
            0.02, top, "Fornada beside others, one run", fontsize=13, weight="bold", va="top"
        )
        below = height - _TOP_IN
        for panel, panel_height in zip(panels, heights, strict=True):
            below -= _HEAD_IN + panel_height
            axis = figure.add_axes((0.23, below / height, 0.75, panel_height / height))
            _draw_panel(axis, panel)
        figure.text(0.02, 0.12 / height, _footer(record), fontsize=6.8, color=_FAINT, va="bottom")
        file = io.BytesIO()
        # Without the version of Matplotlib: the same figures give the same bytes.
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _draw_panel(axis: Any, panel: Panel) -> None:
    values = [bar.value for bar in panel.bars]
    rows = range(len(values))
    axis.barh(rows, values, color=[bar.color for bar in panel.bars], height=0.74)
    axis.set_xlim(0, max(values) * _ROOM)
    axis.set_ylim(-0.5, len(values) - 0.5)
    axis.set_yticks(rows, [bar.label for bar in panel.bars])
    for row, bar, label in zip(rows, panel.bars, axis.get_yticklabels(), strict=True):
        ours = bar.color == _OURS
        weight = "bold" if ours else "normal"
        at = bar.value + max(values) * 0.01
        axis.text(at, row, rate(bar.value), va="center", fontsize=8.5, weight=weight)
        label.set(color=_OURS if ours else _INK, weight=weight)
    axis.text(0, 1.0, panel.title, transform=_above(axis, 15), fontsize=10, weight="bold")
    axis.text(0, 1.0, panel.subtitle, transform=_above(axis, 4), fontsize=7.5, color=_FAINT)
    axis.tick_params(left=False, bottom=False, labelbottom=False, labelsize=8.5)
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)
    axis.spines["left"].set_color(_LIMIT)


def _above(axis: Any, points: float) -> Any:
    """The axis's own coordinates, shifted up by `points`."""
    from matplotlib.transforms import ScaledTranslation  # noqa: PLC0415 - ditto

    return axis.transAxes + ScaledTranslation(0, points / 72, axis.figure.dpi_scale_trans)


def _footer(record: dict[str, Any]) -> str:
    machine = record["machine"]
    versions: dict[str, str] = {}
    for contender in record["contenders"].values():
        versions |= contender["versions"]
    named = ", ".join(
        f"{name} {versions[name]}"
        for name in ("tensorflow-cpu", "keras", "openvino", "ray", "bentoml", "litserve", "celery")
        if name in versions
    )
    return (
        f"{record['date'][:10]} · {machine['cpu']}, {machine['cores']} cores that servers and "
        f"contenders share · medians of {record['sizes']['rounds']} rounds · Fornada "
        f"{record['fornada']}\n{named}\nin-process limit: arrays in RAM · store, then engine: both "
        "limits, each measured alone, one after the other for every image"
    )
