"""What each request of the API may have, as OpenAPI describes it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from starlette.routing import compile_path


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """A method of a path."""

    #: `GET /v1/jobs/{job_id}`
    name: str
    described: Mapping[str, Any]

    @property
    def queries(self) -> dict[str, Any]:
        """Its query parameters: name -> schema."""
        return {
            parameter["name"]: parameter["schema"]
            for parameter in self.described.get("parameters", ())
            if parameter["in"] == "query"
        }

    def body(self, content_type: str) -> Mapping[str, Any]:
        """The schema of its JSON body, or of the JSON in a form; empty without one."""
        media_type = content_type.partition(";")[0].strip().lower()
        content = self.described.get("requestBody", {}).get("content", {})
        schema: Mapping[str, Any] = content.get(media_type, {}).get("schema", {})
        # The only field of a form that is JSON.
        found: Mapping[str, Any] = schema.get("properties", {}).get("request", schema)
        return found


class Operations:
    """The operations of an API, found by the requests for them.

    Args:
        openapi: Describes the API; called once, for the first request that needs it.
    """

    def __init__(self, openapi: Callable[[], dict[str, Any]]) -> None:
        self._openapi = openapi

    @property
    def document(self) -> dict[str, Any]:
        """The whole description, which schemas refer to."""
        return self._openapi()

    def find(self, method: str, path: str) -> Operation | None:
        """The operation that a request is for."""
        for pattern, template, methods in self._paths:
            if method.lower() in methods and pattern.fullmatch(path):
                return Operation(name=f"{method} {template}", described=methods[method.lower()])
        return None

    def methods(self, path: str) -> list[str]:
        """The methods that a path has, in order; none if there is no such path."""
        fitting = (methods for pattern, _, methods in self._paths if pattern.fullmatch(path))
        return sorted({method.upper() for methods in fitting for method in methods})

    @cached_property
    def _paths(self) -> list[tuple[re.Pattern[str], str, dict[str, Any]]]:
        paths = self.document["paths"]
        return [(compile_path(path)[0], path, methods) for path, methods in paths.items()]
