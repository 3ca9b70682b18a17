"""Renders pages, and parts of pages that are open already."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from fornada import __version__
from fornada.trust.printable import printable
from gateway.console import texts

#: The part of a page that a script asks for: `?part=rows`.
PART = "part"


class Pages:
    """The console's templates. Every value is escaped."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("gateway.console"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_as_text,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "class_shares": texts.class_shares,
            "counted": texts.counted,
            "duration": texts.duration,
            "metric": texts.metric,
            "number": texts.number,
            "plain": texts.plain,
            "percent": texts.percent,
            "rate": texts.rate,
            "relative": texts.relative,
            "shape": texts.shape,
            "short": texts.short,
            "shown": texts.shown,
            "size": texts.size,
            "utc": texts.utc,
        }
        self._templates.globals["version"] = __version__
        for name, macros in (("m", "macros.html"), ("c", "cards.html")):
            self._templates.globals[name] = self._templates.get_template(macros).module

    def render(
        self,
        request: Request,
        template: str,
        *,
        http_status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """The page, or only the block of it that the request names.

        Args:
            request: Answered with it.
            template: Its name, without `.html`.
            http_status: Of the answer.
            headers: Of the answer, beside its own.
            values: What it shows.
        """
        found = self._templates.get_template(f"{template}.html")
        values = {
            "viewer": getattr(request.state, "viewer", None),
            "path": request.url.path,
        } | values
        part = request.query_params.get(PART)
        if part is not None and part in found.blocks:
            html = "".join(found.blocks[part](found.new_context(values)))
        else:
            html = found.render(values)
        # A lone surrogate, as a name may hold one, is not UTF-8.
        content = html.encode(errors="xmlcharrefreplace")
        return HTMLResponse(content, status_code=http_status, headers=dict(headers or {}))


def pages_of(request: Request) -> Pages:
    """The templates of the console that a request is for."""
    pages: Pages = request.app.state.pages
    return pages


def _as_text(value: object) -> object:
    # Not what is HTML already, nor numbers.
    return printable(value) if type(value) is str else value
