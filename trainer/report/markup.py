"""HTML as a tree: whatever is put into it is text, and never markup."""

from collections.abc import Collection, Iterable, Sequence
from xml.etree.ElementTree import Element, tostring

#: Longer names and values are cut; the manifest has them whole.
_LONGEST_NAME, _LONGEST_TEXT = 40, 120

#: Stands where there is no number.
NOTHING = "—"

#: What an element is made of: elements and texts, in their order.
Content = Element | str


def tag(name: str, /, *content: Content, **attributes: str) -> Element:
    """An element; `class_` is the attribute `class`, `data_x` is `data-x`."""
    element = Element(
        name, {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    )
    for part in content:
        if isinstance(part, Element):
            element.append(part)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + part
        else:
            element.text = (element.text or "") + part
    return element


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[Content]],
    *,
    label: str,
    numbers: Collection[str] = (),
) -> Element:
    """A table that scrolls sideways where it has no room.

    Args:
        headings: Of the columns; the first column names the rows.
        rows: Cells, as many as there are headings.
        label: What the table is of, for who hears it.
        numbers: Headings of the columns that are numbers, and stand to the right.
    """
    kinds = ["number" if heading in numbers else "text" for heading in headings]
    head = [
        tag("th", heading, scope="col", class_=kind)
        for heading, kind in zip(headings, kinds, strict=True)
    ]
    body = []
    for cells in rows:
        first, *others = zip(cells, kinds, strict=True)
        body.append(
            tag(
                "tr",
                tag("th", first[0], scope="row", class_=first[1]),
                *(tag("td", cell, class_=kind) for cell, kind in others),
            )
        )
    whole = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body))
    # Whoever has no mouse scrolls it with the keys.
    return tag("div", whole, class_="scroll", role="region", aria_label=label, tabindex="0")


def short(name: str) -> str:
    """A name of others, of one among many classes or layers, cut to what a cell has room for."""
    return _cut(name, _LONGEST_NAME)


def text(value: object) -> str:
    """A value of others, cut to what a page has room for."""
    return _cut(str(value), _LONGEST_TEXT)


def percent(share: float | None, *, decimals: int = 1) -> str:
    """A share as `88.7%`, or `NOTHING`."""
    return NOTHING if share is None else f"{share:.{decimals}%}"


def bar(share: float) -> Element:
    """A bar of that share of its room; its number stands beside it, for who hears the page."""
    return tag("i", style=f"--share:{min(max(share, 0), 1):.1%}", aria_hidden="true")


def meter(share: float | None) -> Content:
    """A share as a bar and a number, or `NOTHING`."""
    if share is None:
        return NOTHING
    return tag("span", bar(share), tag("b", percent(share)), class_="meter")


def to_html(root: Element) -> bytes:
    """The document as UTF-8; the same tree gives the same bytes."""
    body = tostring(root, encoding="unicode", method="html")
    # Half of a surrogate pair, as a JSON file may have it, is no UTF-8.
    return f"<!doctype html>\n{body}\n".encode(errors="xmlcharrefreplace")


def _cut(whole: str, longest: int) -> str:
    return whole if len(whole) <= longest else f"{whole[: longest - 1]}…"
