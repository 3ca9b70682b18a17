"""A request of the protocol as items of a model."""

import math

from pydantic import ValidationError

from fornada.errors import InputError, UsageError
from fornada.formats.items import Array, fitted_shape
from fornada.tensors import InputTensor, text_of
from gateway.oip.datatypes import check_datatype, datatype_of, from_binary, from_json
from gateway.oip.documents import GivenTensor, InferRequest
from gateway.predicting.bodies import check_item_count
from model_store.manifest import ModelManifest
from producer.calls.call import MAX_TIMEOUT_S
from producer.inputs.interface import ImageFile

_SIZE = "binary_data_size"
_DEFAULT_TIMEOUT_S = 10.0
#: Of the length of the JSON: a body has no more bytes than that says.
_MOST_DIGITS = 9

#: What a model takes, by the names of its inputs.
Given = dict[str, Array | list[ImageFile]]


def parsed(body: bytes, header_length: str | None) -> tuple[InferRequest, memoryview]:
    """The JSON of a request, and the bytes that follow it.

    Args:
        body: The whole body.
        header_length: The request's `Inference-Header-Content-Length`, if it has one.

    Raises:
        InputError: The body is not such a request.
    """
    json_bytes = len(body)
    if header_length is not None:
        is_number = header_length.isdecimal() and len(header_length) <= _MOST_DIGITS
        if not is_number or int(header_length) > len(body):
            raise InputError(
                f"Inference-Header-Content-Length is {header_length[:40]!r}, and the body has "
                f"{len(body)} bytes; give the length of its JSON"
            )
        json_bytes = int(header_length)
    try:
        request = InferRequest.model_validate_json(body[:json_bytes])
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, error["loc"]))[:200] or "the body"
        raise InputError(f"{where}: {error['msg'][:200]}; write it as the protocol says") from None
    return request, memoryview(body)[json_bytes:]


def timeout_of(request: InferRequest) -> float:
    """How long the caller waits, in seconds: the parameter `timeout` is in microseconds.

    Raises:
        UsageError: It is no such number.
    """
    given = request.parameters.get("timeout")
    if given is None or given == 0:
        return _DEFAULT_TIMEOUT_S
    if isinstance(given, str) or not 0 < given / 1e6 <= MAX_TIMEOUT_S:
        raise UsageError(f"timeout is {given!r}; give microseconds, up to {MAX_TIMEOUT_S:g}e6")
    return given / 1e6


def given_tensors(request: InferRequest, binary: memoryview, model: ModelManifest) -> Given:
    """The tensors of a request, for `model`.

    Raises:
        InputError: They are not what the model takes, or not what they declare.
    """
    by_name = {tensor.name: tensor for tensor in model.inputs}
    given: Given = {}
    at = 0
    for tensor in request.inputs:
        where = f"input {tensor.name!r}"
        taken = by_name.get(tensor.name)
        if taken is None or tensor.name in given:
            fact = f"is none of {model}" if taken is None else "is given twice"
            raise InputError(f"{where} {fact}; give {', '.join(map(repr, by_name))}, once each")
        check_datatype(tensor.datatype, where=where)
        size = tensor.parameters.get(_SIZE)
        if size is None:
            array = _of_json(tensor, where=where)
        else:
            end = at + _checked_size(size, len(binary) - at, where=where)
            array = from_binary(binary[at:end], tensor.datatype, tensor.shape, where=where)
            at = end
        check_item_count(array.shape[0] if array.ndim else 1, where=where)
        given[tensor.name] = _fitting(array, tensor, taken, where=where)
    if at != len(binary):
        raise InputError(
            f"{len(binary) - at} bytes after the JSON belong to no input; state {_SIZE} in the "
            "parameters of each"
        )
    return given


def _of_json(tensor: GivenTensor, *, where: str) -> Array:
    if tensor.data is None:
        raise InputError(f"{where} has no data; give data, or {_SIZE} with the bytes")
    return from_json(tensor.data, tensor.datatype, tensor.shape, where=where)


def _checked_size(size: object, left_bytes: int, *, where: str) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= left_bytes:
        raise InputError(
            f"{where}: {_SIZE} is {size!r}, and {left_bytes} bytes of the body are left; give the "
            "size of its values"
        )
    return size


def _fitting(
    array: Array, tensor: GivenTensor, taken: InputTensor, *, where: str
) -> Array | list[ImageFile]:
    """The array, an item a row; image files where BYTES are given and numbers taken.

    Raises:
        InputError: Its shape or datatype is another one than the model's.
    """
    if tensor.datatype == "BYTES" and taken.dtype != "string":
        if math.prod(tensor.shape[1:]) != 1:
            raise InputError(f"{where} has image files of shape {tensor.shape}; give [items]")
        files = array.ravel().tolist()
        return [ImageFile(name=f"{where}[{n}]", data=data) for n, data in enumerate(files)]
    if (tensor.datatype == "BYTES") != (taken.dtype == "string"):
        raise InputError(
            f"{where} is of datatype {tensor.datatype}; give {datatype_of(taken.dtype)}"
        )
    if not tensor.shape or fitted_shape(tensor.shape[1:], taken.shape) is None:
        raise InputError(
            f"{where} has shape {tensor.shape}; give the items' axis, and items of "
            f"{text_of(taken.shape)}"
        )
    return array
