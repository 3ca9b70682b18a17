"""What a model gave, as an answer of the protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic_core import to_json

from fornada.errors import InputError, UsageError
from fornada.formats.items import Array
from fornada.tensors import OutputTensor
from gateway.oip.datatypes import datatype_of, to_binary
from gateway.oip.documents import InferRequest, WantedOutput
from gateway.predicting.outputs import results_of, top_numbers
from producer.calls.outputs import CallResult
from producer.exporting.cells import plain
from producer.item_results import OutputResults


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of an answer, of which the first bytes are JSON."""

    body: bytes
    #: `None` if all are.
    json_bytes: int | None


def answer_of(request: InferRequest, result: CallResult) -> Answer:
    """The answer to a request.

    Raises:
        PredictionErrors: An item failed: the protocol has no room for the reason.
        UsageError: The request wants an output that there is not.
        InputError: Items have outputs of different shapes.
    """
    result.checked()
    found = results_of(result)
    wanted = request.outputs or [WantedOutput(name=name) for name in found]
    is_binary = bool(request.parameters.get("binary_data_output", False))
    outputs: list[dict[str, Any]] = []
    binaries: list[bytes] = []
    for output in wanted:
        if output.name not in found:
            raise UsageError(
                f"{result.model} has no output {output.name!r}; it gives "
                f"{', '.join(map(repr, found))}"
            )
        array, datatype = _values(found[output.name], output)
        document: dict[str, Any] = {
            "name": output.name,
            "datatype": datatype,
            "shape": list(array.shape),
        }
        if output.parameters.get("binary_data", is_binary):
            binaries.append(to_binary(array, datatype))
            document["parameters"] = {"binary_data_size": len(binaries[-1])}
        else:
            document["data"] = _plain(array, datatype)
        outputs.append(document)
    header = {"model_name": result.model.name, "model_version": str(result.model.version)}
    if request.id is not None:
        header["id"] = request.id
    json = to_json({**header, "outputs": outputs})
    if not binaries:
        return Answer(json, None)
    return Answer(b"".join([json, *binaries]), len(json))


def _values(found: OutputResults, wanted: WantedOutput) -> tuple[Array, str]:
    """The values of an output, and their datatype."""
    output = found.output
    top_k = wanted.parameters.get("classification")
    if top_k:
        return _likeliest(found, top_k), "BYTES"
    datatype = datatype_of(output.dtype)
    if isinstance(found.rows, list):
        return _stacked(found.rows, output), datatype
    return found.rows, datatype


def _stacked(rows: Sequence[Array], output: OutputTensor) -> Array:
    shapes = {row.shape for row in rows}
    if len(shapes) > 1:
        raise InputError(
            f"output {output.name!r} differs in shape between items, and an answer has one shape "
            "for all; send the items one by one"
        )
    return np.stack(rows)


def _likeliest(found: OutputResults, top_k: object) -> Array:
    """BYTES [items, at most `top_k`]: `score:number:label`, the likeliest class first."""
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise UsageError(f"classification is {top_k!r}; give a count of classes")
    if found.output.is_open or found.output.dtype == "string":
        raise UsageError(f"output {found.output.name!r} has no classes; leave classification out")
    numbers, matrix = top_numbers(found, top_k), found.matrix
    names = found.output.columns if found.output.classes else None
    cells = np.empty(numbers.shape, object)
    for (row, place), number in np.ndenumerate(numbers):
        label = f":{names[number]}" if names else ""
        cells[row, place] = f"{matrix[row, number]:f}:{number}{label}".encode()
    return cells


def _plain(array: Array, datatype: str) -> list[Any]:
    """The values as JSON, flat."""
    if datatype == "BYTES":
        return [each.decode(errors="backslashreplace") for each in array.ravel().tolist()]
    values: list[Any] = plain(array.ravel())
    return values
