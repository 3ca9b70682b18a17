"""An OpenAPI description as the page shows it: endpoints by topic, and the documents they name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

from gateway.console.api_page.types import Field, Piece, Schema, fields_of, parameter_of, type_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """A body, of a request or of an answer."""

    media_type: str
    type: Sequence[Piece]
    #: Of a document that has no name.
    fields: Sequence[Field] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer to a request that succeeds."""

    status: str
    description: str
    contents: Sequence[Content]


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A method of a path."""

    id: str
    method: str
    path: str
    #: Its first paragraph; the others.
    summary: str
    paragraphs: Sequence[str]
    parameters: Sequence[Field]
    bodies: Sequence[Content]
    answers: Sequence[Answer]
    needs_key: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A document that endpoints take or give."""

    name: str
    description: str
    fields: Sequence[Field]
    #: Of one that is no object.
    type: Sequence[Piece]


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiDescription:
    """All that the page shows."""

    #: By topic.
    endpoints: Mapping[str, Sequence[Endpoint]]
    documents: Sequence[Document]
    #: Status -> what it means, of requests that fail.
    errors: Mapping[int, str]

    @classmethod
    def of(cls, openapi: Schema) -> Self:
        """The description that `openapi` holds."""
        endpoints: dict[str, list[Endpoint]] = {}
        for path, methods in openapi["paths"].items():
            for method, described in methods.items():
                endpoint = _endpoint(method.upper(), path, described)
                endpoints.setdefault(described["tags"][0], []).append(endpoint)
        components = openapi["components"]
        documents = [
            _document(name, schema) for name, schema in sorted(components["schemas"].items())
        ]
        statuses = {status.phrase.replace(" ", ""): status for status in HTTPStatus}
        errors = {
            int(statuses[name]): response["description"]
            for name, response in components["responses"].items()
            if name in statuses
        }
        return cls(endpoints=endpoints, documents=documents, errors=errors)


def _endpoint(method: str, path: str, described: Schema) -> Endpoint:
    paragraphs = described["description"].split("\n\n")
    summary, *paragraphs = [" ".join(paragraph.split()) for paragraph in paragraphs]
    answers = [
        Answer(
            status=status,
            description=_said(answer["description"]),
            contents=list(_contents(answer)),
        )
        for status, answer in described["responses"].items()
        if status.startswith("2")
    ]
    return Endpoint(
        id=described["operationId"],
        method=method,
        path=path,
        summary=summary,
        paragraphs=paragraphs,
        parameters=[parameter_of(each) for each in described.get("parameters", ())],
        bodies=list(_contents(described.get("requestBody", {}))),
        answers=answers,
        needs_key="security" in described,
    )


def _said(description: str) -> str:
    # What FastAPI says of every answer says nothing.
    return "" if description == "Successful Response" else description


def _contents(described: Schema) -> Iterator[Content]:
    content: dict[str, Any] = described.get("content", {})
    for media_type, each in content.items():
        schema = each.get("schema", {})
        yield Content(media_type=media_type, type=list(type_of(schema)), fields=fields_of(schema))


def _document(name: str, schema: Schema) -> Document:
    return Document(
        name=name,
        description=schema.get("description", ""),
        fields=fields_of(schema),
        type=list(type_of(schema)),
    )
