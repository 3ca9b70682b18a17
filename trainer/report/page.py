"""The page around a report's sections: templates, styles, and figures embedded as data."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fornada.errors import MissingExtraError
from fornada.trust.printable import printable
from trainer.figures.canvas import FIGURE_DPI

_CSS_DPI = 96
#: Longer names and values are cut; the manifest has them in full.
_MAX_NAME_LENGTH, _MAX_TEXT_LENGTH = 40, 120
#: Stands in for a missing number.
_NOTHING = "—"


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the page with its own heading."""

    #: Name of its template, and fragment of its links unless it is one of several.
    anchor: str
    title: str
    #: What the template shows.
    values: Mapping[str, object]
    #: PNG by file name: what is stored beside the page.
    figures: Mapping[str, bytes] = field(default_factory=dict)
    #: Of the output, from 1, where the model gives several.
    number: int | None = None

    @property
    def fragment(self) -> str:
        """What links to it name."""
        return self.anchor if self.number is None else f"{self.anchor}-{self.number}"

    def of_output(self, number: int, name: str) -> "Section":
        """The section, as that of one of several outputs."""
        return replace(
            self,
            number=number,
            title=f"{name}: {self.title}",
            figures={f"output-{number}-{file}": png for file, png in self.figures.items()},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One headline number."""

    label: str
    value: str
    detail: str


def render(*, tiles: Sequence[Tile], sections: Sequence[Section], **values: object) -> bytes:
    """The whole page as HTML, UTF-8. Every value is escaped.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    templates = _templates()
    bodies = {
        section.fragment: templates.get_template(f"{section.anchor}.html").render(section.values)
        for section in sections
    }
    page: str = templates.get_template("page.html").render(
        tiles=tiles, sections=sections, bodies=bodies, **values
    )
    # A lone surrogate, as a folder's name may hold one, is not UTF-8.
    return page.encode(errors="xmlcharrefreplace")


def short(name: object) -> str:
    """The name of a class or a layer, cut to the width of a cell."""
    return _cut(str(name), _MAX_NAME_LENGTH)


def percent(share: float | None, decimals: int = 1) -> str:
    """A share as `88.7%`; a dash where there is none."""
    return _NOTHING if share is None else f"{share:.{decimals}%}"


def counted(count: int, noun: str) -> str:
    """`1 epoch`, `1,200 epochs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shape(sizes: Sequence[int | None] | None) -> str:
    """The axes of an item, as people write them; an open axis is `any`."""
    if sizes is None:
        return "several"
    axes = ("any" if size is None else f"{size}" for size in sizes)
    return " \N{MULTIPLICATION SIGN} ".join(axes) or "one number"


def _templates() -> Any:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError(
            "the training report needs Jinja2; run: pip install 'fornada[train]'"
        ) from exc
    templates = Environment(
        loader=PackageLoader("trainer.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_as_text,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "counted": counted,
        "data_url": _data_url,
        "css_width": _css_width,
        "number": _number,
        "percent": percent,
        "shape": shape,
        "short": short,
        "text": _text,
    }
    return templates


def _as_text(value: object) -> object:
    # Not what is HTML already, nor numbers.
    return printable(value) if type(value) is str else value


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _css_width(png: bytes) -> int:
    """The width at which a figure of `trainer.figures` has its own size."""
    # The width is in PNG's first chunk.
    return int.from_bytes(png[16:20]) * _CSS_DPI // FIGURE_DPI


def _number(value: float | None, form: str = ",") -> str:
    return _NOTHING if value is None else format(value, form)


def _text(value: object) -> str:
    """A value of any kind, cut to the width of a page."""
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    return _cut(_NOTHING if value is None or value == "" else str(value), _MAX_TEXT_LENGTH)


def _cut(whole: str, longest: int) -> str:
    return whole if len(whole) <= longest else f"{whole[: longest - 1]}…"
