"""The page that holds a report's sections: its head, its looks, its figures as data."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from xml.etree.ElementTree import Element

from trainer.figures.canvas import FIGURE_DPI
from trainer.report.markup import Content, tag, text, to_html

#: Pixels of an inch, to a browser.
_CSS_DPI = 96
#: Nothing is loaded from elsewhere, and no script runs, whatever a name might smuggle in.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the page, with its own heading."""

    #: What links to it name.
    anchor: str
    title: str
    #: What there is to see, in a sentence or two.
    lead: str
    body: Sequence[Element]
    #: PNG by file name: the figures in `body`, and what else lies beside the page.
    figures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One figure that is seen first."""

    label: str
    value: str
    detail: str


def picture(png: bytes, *, alt: str) -> Element:
    """An image whose bytes are in the page."""
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return tag("img", src=source, alt=alt)


def drawing(png: bytes, *, alt: str) -> Element:
    """A figure of `trainer.figures`, in its own size where there is room for it."""
    # Of PNG's first chunk.
    width_px = int.from_bytes(png[16:20])
    image = picture(png, alt=alt)
    image.set("width", str(width_px * _CSS_DPI // FIGURE_DPI))
    return tag("figure", image)


def render(
    *, title: str, subtitle: str, tiles: Sequence[Tile], sections: Sequence[Section], foot: str
) -> bytes:
    """The whole page as HTML, UTF-8."""
    style = resources.files("trainer.report").joinpath("report.css").read_text("utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", **{"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{text(title)}: training report"),
        tag("style", style),
    )
    body = tag(
        "body",
        tag(
            "header",
            tag("p", "Training report", class_="eyebrow"),
            tag("h1", text(title)),
            tag("p", subtitle, class_="subtitle"),
            tag("dl", *map(_tile, tiles), class_="tiles"),
            _contents(sections),
        ),
        tag("main", *map(_section, sections)),
        tag("footer", foot),
    )
    return to_html(tag("html", head, body, lang="en"))


def _tile(tile: Tile) -> Element:
    return tag(
        "div",
        tag("dt", tile.label),
        tag("dd", tile.value, class_="value"),
        tag("dd", tile.detail, class_="detail"),
    )


def _contents(sections: Sequence[Section]) -> Element:
    links = [tag("li", tag("a", s.title, href=f"#{s.anchor}")) for s in sections]
    return tag("nav", tag("ul", *links), aria_label="Sections")


def _section(section: Section) -> Element:
    content: list[Content] = [tag("h2", section.title)]
    if section.lead:
        content.append(tag("p", section.lead, class_="lead"))
    return tag("section", *content, *section.body, id=section.anchor)
