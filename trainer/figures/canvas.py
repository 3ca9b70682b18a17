"""What all figures share: colours, drawable names, reproducible PNG bytes."""

import io
from collections.abc import Sequence
from typing import Any

from fornada.errors import MissingExtraError

#: As in TensorFlow's Fashion-MNIST tutorial: right in blue, wrong in red. Readers with any colour
#: vision can tell them apart.
RIGHT, WRONG, OTHER = "#2166ac", "#c9302c", "#c3c7cc"
INK, MUTED, RULE = "#1f2328", "#6b7280", "#e5e7eb"
#: A dollar sign in a name does not start a formula.
PLAIN = {"parse_math": False}
_MAX_NAME_LENGTH, _MAX_TITLE_LENGTH = 14, 40
FIGURE_DPI = 144


def new_figure(*, width: float, height: float) -> Any:
    """An empty figure; width and height in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        # Not pyplot, which keeps every figure and looks for a display.
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - a second
        from matplotlib.figure import Figure  # noqa: PLC0415 - a second
    except ImportError as exc:
        raise MissingExtraError(
            "figures need matplotlib; run: pip install 'fornada[train]'"
        ) from exc
    figure = Figure(figsize=(width, height), dpi=FIGURE_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Any, *, cropped: bool = False) -> bytes:
    """The figure as PNG, the same bytes for the same numbers; `cropped` removes its margins."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format="png",
        # Leaves out matplotlib's version.
        metadata={"Software": None},
        bbox_inches="tight" if cropped else None,
        pad_inches=0.1,
    )
    return buffer.getvalue()


def declutter(axes: Any, *, grid: str = "y") -> None:
    """Strip frame and ticks from axes; keep faint grid lines and grey numbers."""
    axes.grid(axis=grid, color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    axes.spines[:].set_visible(False)


def drawable_names(names: Sequence[str]) -> list[str]:
    """Each name, shortened; `#3` for one with letters missing from matplotlib's own font."""
    return [
        shortened(name, _MAX_NAME_LENGTH) if _is_drawable(name) else f"#{number}"
        for number, name in enumerate(names)
    ]


def write_title(axes: Any, title: str, *, pad: float = 10) -> None:
    """Write a title above axes, if matplotlib's own font has its letters."""
    shown = shortened(title, _MAX_TITLE_LENGTH) if _is_drawable(title) else ""
    axes.set_title(shown, loc="left", fontsize=11, fontweight="bold", color=INK, pad=pad, **PLAIN)


def write_legend(axes: Any, **options: Any) -> None:
    """Write a legend whose names are drawn as they are."""
    legend = axes.legend(frameon=False, fontsize=8.5, labelcolor=MUTED, **options)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _is_drawable(name: str) -> bool:
    from matplotlib import font_manager  # noqa: PLC0415 - with the first figure

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return all(font.get_char_index(ord(letter)) for letter in name)


def shortened(name: str, longest: int) -> str:
    """`name`, cut to `longest` characters."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
