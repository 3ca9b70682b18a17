"""What a JSON schema allows, in words, with links to the documents that it names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Schema = Mapping[str, Any]

_DOCUMENTS = "#/components/schemas/"
_FORMATS = {"date-time": "time", "binary": "bytes", "uri": "URL"}
#: Least, most, and of what.
_BOUNDS = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " of them"),
)


class Piece(NamedTuple):
    """A piece of a text."""

    text: str
    #: The document that it names, if it does.
    document: str | None = None


class Field(NamedTuple):
    """A field of a document, or a parameter of a request."""

    name: str
    type: Sequence[Piece]
    description: str
    is_required: bool
    #: Of a parameter: `path`, `query` or `header`.
    where: str = ""


def fields_of(schema: Schema) -> list[Field]:
    """The fields of an object; none of anything else."""
    required = schema.get("required", ())
    return [
        Field(name, list(type_of(field)), field.get("description", ""), name in required)
        for name, field in schema.get("properties", {}).items()
    ]


def parameter_of(parameter: Schema) -> Field:
    """A parameter of a request."""
    return Field(
        parameter["name"],
        list(type_of(parameter["schema"])),
        parameter.get("description", ""),
        bool(parameter.get("required")),
        parameter["in"],
    )


def type_of(schema: Schema) -> Iterator[Piece]:
    """What the schema allows: `list of ItemFailure, or null`."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_DOCUMENTS)
        yield Piece(name, name)
        return
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        for at, choice in enumerate(choices):
            if at:
                yield Piece(" or ")
            yield from type_of(choice)
        return
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
    if values:
        yield Piece(", ".join(map(str, values)))
        return
    yield from _plain(schema)
    limits = list(_limits(schema))
    if limits:
        yield Piece(f" ({', '.join(limits)})")


def _limits(schema: Schema) -> Iterator[str]:
    for least, most, of_what in _BOUNDS:
        low, high = schema.get(least), schema.get(most)
        if low is not None and high is not None:
            yield f"{low} to {high}{of_what}"
        elif low is not None:
            yield f"at least {low}{of_what}"
        elif high is not None:
            yield f"at most {high}{of_what}"
    if "exclusiveMinimum" in schema:
        yield f"more than {schema['exclusiveMinimum']}"
    if "pattern" in schema:
        yield f"matches {schema['pattern']}"


def _plain(schema: Schema) -> Iterator[Piece]:
    kind: str = schema.get("type", "any value")
    if kind == "array":
        yield Piece("list")
        if schema.get("items"):
            yield Piece(" of ")
            yield from type_of(schema["items"])
    elif kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        yield Piece("object of ")
        yield from type_of(schema["additionalProperties"])
    else:
        yield Piece(_FORMATS.get(schema.get("format", ""), kind))
