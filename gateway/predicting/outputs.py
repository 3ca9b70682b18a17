"""What a model gave, as the body of an answer: JSON, lines of it, `.npy` or safetensors."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, Field
from pydantic_core import to_json

from fornada.errors import UsageError
from fornada.formats.npy import to_npy
from fornada.formats.tensor_file import column_bytes, needs_tensor_file, to_tensor_file
from fornada.tensors import CLASS_KINDS, OutputTensor
from gateway.predicting.bodies import NotAcceptableError
from gateway.predicting.inputs import JSON, JSON_LINES, NPY, SAFETENSORS
from producer.calls.lines import json_lines
from producer.calls.outputs import CallResult
from producer.exporting.cells import plain
from producer.item_results import OutputResults

_ANY = {"*/*", "application/*"}


class PredictedModel(BaseModel):
    """The exact model that answered."""

    name: str
    version: int
    sha256: str


class TopClass(BaseModel):
    """One of the likeliest classes of an item."""

    label: str
    score: float


class ItemFailure(BaseModel):
    """An item without a result."""

    item: int = Field(description="Its number among the items of the request, from 0.")
    reason: str


class PredictDocument(BaseModel):
    """What a model gave for the items of a request, in their order."""

    model: PredictedModel
    outputs: dict[str, list[Any]] = Field(
        description="By the name of each output, what it is for each item; `null` for an item that "
        "failed, and for NaN and infinity."
    )
    labels: dict[str, list[str | list[str] | None]] = Field(
        description="Of outputs with classes, the class of each item; of several that apply "
        "together, a list."
    )
    top: dict[str, list[list[TopClass] | None]] | None = Field(
        default=None, description="With `top_k`, the likeliest classes of each item."
    )
    errors: list[ItemFailure]


Write = Callable[[CallResult, int | None], bytes]


def writer_of(accept: str | None) -> tuple[str, Write]:
    """The media type that a request wants, and what writes it.

    Raises:
        NotAcceptableError: None of those that it accepts can be written.
    """
    wanted = [part.partition(";")[0].strip().lower() for part in (accept or JSON).split(",")]
    for kind in wanted:
        if kind in _ANY:
            return JSON, WRITERS[JSON]
        if kind in WRITERS:
            return kind, WRITERS[kind]
    raise NotAcceptableError(
        f"the answer is to be {', '.join(wanted)[:200]}; accept {', '.join(WRITERS)}"
    )


def size_bytes(result: CallResult) -> int:
    """Bytes of the outputs."""
    return sum(map(column_bytes, result.columns))


def _as_json(result: CallResult, top_k: int | None) -> bytes:
    pin = result.model.pin
    document: dict[str, Any] = {
        "model": {"name": pin.name, "version": pin.version, "sha256": pin.sha256},
        "outputs": {},
        "labels": {},
    }
    found = results_of(result)
    for name, each in found.items():
        document["outputs"][name] = json_rows(each)
        if each.output.kind in CLASS_KINDS:
            document["labels"][name] = each.labels
    if top_k is not None:
        document["top"] = {
            name: _top(each, top_k)
            for name, each in found.items()
            if each.output.kind in {"probabilities", "multilabel"}
        }
    document["errors"] = [
        {"item": number, "reason": why} for number, why in sorted(result.errors.items())
    ]
    return to_json(document)


def results_of(result: CallResult) -> dict[str, OutputResults]:
    """Each output by its name, as results of a job have it."""
    ok = np.ones(result.item_count, np.bool_)
    if result.errors:
        ok[list(result.errors)] = False
    return {
        output.name: OutputResults(output=output, rows=rows, ok=ok)
        for output, rows in zip(result.model.outputs, result.columns, strict=True)
    }


def json_rows(found: OutputResults) -> list[Any]:
    """What an output is for each item, as JSON values; `None` for an item that failed."""
    rows: list[Any]
    if found.output.dtype == "string":
        rows = [_text(cell) for cell in found.rows]
    elif isinstance(found.rows, list):
        rows = [plain(cell) for cell in found.rows]
    else:
        rows = plain(found.rows)
    if not found.ok.all():
        return [row if ok else None for row, ok in zip(rows, found.ok.tolist(), strict=True)]
    return rows


def _text(cell: Any) -> Any:
    if isinstance(cell, bytes):
        return cell.decode(errors="backslashreplace")
    return [_text(each) for each in cell]


def top_numbers(found: OutputResults, top_k: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The numbers of the likeliest classes [items, at most `top_k`], the likeliest first."""
    return np.argsort(-found.matrix.astype(np.float64), axis=1, kind="stable")[:, :top_k]


def _top(found: OutputResults, top_k: int) -> list[list[dict[str, Any]] | None]:
    classes, finite = found.classes, found.is_finite.tolist()
    rows = zip(top_numbers(found, top_k).tolist(), plain(found.matrix), finite, strict=True)
    return [
        [{"label": classes[number], "score": scores[number]} for number in numbers] if ok else None
        for numbers, scores, ok in rows
    ]


def _as_npy(result: CallResult, top_k: int | None) -> bytes:  # noqa: ARG001 - as the others
    outputs = result.model.outputs
    if needs_tensor_file(outputs):
        raise UsageError(
            f"{result.model} gives {', '.join(map(str, outputs))}, which fits no .npy file; accept "
            f"{JSON} or {SAFETENSORS}"
        )
    return to_npy(np.asarray(result.checked()))


def _as_tensors(result: CallResult, top_k: int | None) -> bytes:  # noqa: ARG001 - as the others
    outputs: list[OutputTensor] = result.model.outputs
    result.checked()
    named = dict(zip((output.name for output in outputs), result.columns, strict=True))
    return to_tensor_file(named, outputs)


def _as_lines(result: CallResult, top_k: int | None) -> bytes:
    return json_lines(result, top_k=top_k)


WRITERS: Mapping[str, Write] = {
    JSON: _as_json,
    JSON_LINES: _as_lines,
    NPY: _as_npy,
    SAFETENSORS: _as_tensors,
}
