"""What is wrong with the fields of a request, in the words of who wrote it."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

_MOST_CHARACTERS = 100


class Fields:
    """The fields of a request, as a JSON schema describes them.

    Args:
        schema: Of the request.
        document: What the schema's references lead to.
    """

    def __init__(self, schema: Schema, *, document: Schema) -> None:
        self._schema = schema
        self._document = document

    def wrong(self, errors: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """Field -> what is wrong with it, of pydantic's errors, whose `loc` is in the schema.

        Types of unions are in `loc` too; each gives an error of its own.
        """
        found: dict[str, list[str]] = {}
        for error in errors:
            names, holder, field = self._follow(error["loc"])
            messages = found.setdefault(".".join(names)[:_MOST_CHARACTERS], [])
            message = self._message(error, holder, field, last=names[-1] if names else "")
            if message not in messages:
                messages.append(message)
        return {where: ", or ".join(messages) for where, messages in found.items()}

    def _message(
        self, error: Mapping[str, Any], holder: Sequence[Schema], field: Schema, *, last: str
    ) -> str:
        if error["type"] == "extra_forbidden":
            known = [name for each in holder for name in each.get("properties", ())]
            return unknown(last, known, what="field")
        if error["type"] == "string_pattern_mismatch" and "examples" in field:
            return f"write it as {field['examples'][0]!r}"
        return str(error["msg"]).removeprefix("Value error, ")

    def _follow(self, loc: Sequence[int | str]) -> tuple[list[str], list[Schema], Schema]:
        """The names in `loc`, what holds the last one, and what that is."""
        names: list[str] = []
        node: Schema = self._schema
        holder, is_narrowed = [node], False
        for part in loc:
            options = list(self._options(node))
            inner = _inner(options, part)
            tagged = self._tagged(node, part)
            if tagged is not None:
                node = tagged
                continue
            if inner is None and len(options) > 1 and not is_narrowed:
                # The type that was tried.
                is_narrowed = True
                continue
            names.append(str(part))
            holder, node, is_narrowed = options, inner or {}, False
        return names, holder, node

    def _options(self, node: Schema) -> Iterator[Schema]:
        node = self._resolved(node)
        choices = node.get("anyOf") or node.get("oneOf")
        if choices is None:
            yield node
            return
        for each in choices:
            if each.get("type") != "null":
                yield from self._options(each)

    def _tagged(self, node: Schema, part: int | str) -> Schema | None:
        """What a discriminator's value stands for."""
        mapping = self._resolved(node).get("discriminator", {}).get("mapping", {})
        return {"$ref": mapping[part]} if part in mapping else None

    def _resolved(self, node: Schema) -> Schema:
        while "$ref" in node:
            found: Any = self._document
            for name in node["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            node = found
        return node


def _inner(options: Sequence[Schema], part: int | str) -> Schema | None:
    """The element or the property of one of `options`."""
    for each in options:
        if isinstance(part, int) and "items" in each:
            return dict(each["items"])
        if part in each.get("properties", {}):
            return dict(each["properties"][part])
    only = options[0] if len(options) == 1 else {}
    more = only.get("additionalProperties")
    return dict(more) if isinstance(more, Mapping) else None


def unknown(name: str, known: Sequence[str], *, what: str) -> str:
    """That there is no such name, and which there are."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    there = f"there are {', '.join(sorted(known))}" if known else "there is none"
    return f"no such {what}; {hint}{there}"
