"""`/docs`: the description of the API for people, shown by a script that is not ours.

The script comes from another server. It runs in a sandbox without an origin: it sees no session of
the console, and calls nothing.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

_FROM = "https://cdn.jsdelivr.net"
_POLICY = (
    f"sandbox allow-scripts; default-src 'none'; script-src {_FROM} 'unsafe-inline'; "
    f"style-src {_FROM} 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'"
)
#: The page has the description, since it may not ask for it.
_NOTHING_ASKED: dict[str, Any] = {"supportedSubmitMethods": []}


def add_docs_page(app: FastAPI) -> None:
    """Serve `/docs` of `app`."""

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url=app.openapi_url or "",
            title=f"{app.title} API",
            swagger_favicon_url="data:,",
            swagger_ui_parameters={"spec": app.openapi(), **_NOTHING_ASKED},
        )
        page.headers["Content-Security-Policy"] = _POLICY
        page.headers["X-Content-Type-Options"] = "nosniff"
        return page
