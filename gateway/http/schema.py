"""The description of the API in OpenAPI; every error under /v1 is a problem document."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from gateway.http.problems import MEDIA_TYPE, Problem

#: The Open Inference Protocol has errors of its own.
_OTHER_ERRORS = "/v2"
#: What FastAPI says of errors, which are answered in another way here.
_DEFINITIONS = "#/$defs/"
_REPLACED = ("HTTPValidationError", "ValidationError")
_ERRORS = {
    HTTPStatus.BAD_REQUEST: "The request makes no sense.",
    HTTPStatus.UNAUTHORIZED: "There is no valid key or token.",
    HTTPStatus.FORBIDDEN: "The key does not allow it.",
    HTTPStatus.NOT_FOUND: "It does not exist, or is another owner's.",
    HTTPStatus.CONFLICT: "The state of the job or the model does not allow it.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is of another media type.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A field, or an item, is wrong.",
    HTTPStatus.TOO_MANY_REQUESTS: "A rate, a quota or a queue is used up; see Retry-After.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Redis or the store does not answer; see Retry-After.",
}


def operation_id(route: APIRoute) -> str:
    """The name of an endpoint in generated clients: that of its function."""
    if not route.path.startswith(_OTHER_ERRORS):
        return route.name
    # The protocol has each with and without a version.
    of_version = "/versions/" in route.path and "version" not in route.name
    return f"oip_{route.name}{'_version' if of_version else ''}"


def describe(app: FastAPI, models: Sequence[type[BaseModel]]) -> None:
    """Have `app` describe itself so.

    Args:
        app: The application, with all its endpoints.
        models: What endpoints read that FastAPI does not know of.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            components = schema["components"]
            for name in _REPLACED:
                components["schemas"].pop(name, None)
            described: list[type[BaseModel]] = [Problem, *models]
            for model in described:
                components["schemas"][model.__name__] = model.model_json_schema()
            components["responses"] = dict(_problems())
            for path, operations in schema["paths"].items():
                for operation in operations.values():
                    _replace_errors(operation["responses"], of_ours=path[:3] != _OTHER_ERRORS)
            _lift_definitions(schema, components["schemas"])
            for described_model in components["schemas"].values():
                _leave_defaults_out(described_model)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation does


def _problems() -> Iterator[tuple[str, dict[str, Any]]]:
    described = {_name(status): text for status, text in _ERRORS.items()}
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    for name, text in {**described, "Error": "Any other error."}.items():
        yield name, {"description": text, "content": {MEDIA_TYPE: {"schema": schema}}}


def _replace_errors(responses: dict[str, Any], *, of_ours: bool) -> None:
    if not of_ours:
        if "HTTPValidationError" in str(responses.get("422")):
            del responses["422"]
        # As they have it for the others.
        responses["default"] = {**responses["400"], "description": "Any other error."}
        return
    for status in _ERRORS:
        responses[str(int(status))] = {"$ref": f"#/components/responses/{_name(status)}"}
    responses["default"] = {"$ref": "#/components/responses/Error"}


def _name(status: HTTPStatus) -> str:
    return status.phrase.replace(" ", "")


def _leave_defaults_out(schema: dict[str, Any]) -> None:
    """Leave out what fields are by default: generators take such for fields that must be sent."""
    for described in schema.get("properties", {}).values():
        described.pop("default", None)


def _lift_definitions(part: Any, schemas: dict[str, Any]) -> None:
    """Move the definitions of models, which pydantic puts beside their uses, to the components."""
    if isinstance(part, list):
        for each in part:
            _lift_definitions(each, schemas)
    if not isinstance(part, dict):
        return
    definitions = part.pop("$defs", {})
    schemas.update(definitions)
    for each in definitions.values():
        _lift_definitions(each, schemas)
    for name, each in list(part.items()):
        # References, and what a discriminator maps to.
        if isinstance(each, str) and each.startswith(_DEFINITIONS):
            part[name] = each.replace(_DEFINITIONS, "#/components/schemas/")
        _lift_definitions(each, schemas)
