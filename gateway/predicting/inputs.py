"""The items in a request for a prediction, by the type of its body."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from python_multipart.exceptions import MultipartParseError
from safetensors import SafetensorError
from safetensors.numpy import load
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from fornada.errors import InputError
from fornada.formats.images import HEAD_BYTES, is_image
from fornada.formats.items import Array
from fornada.formats.nesting import holds_texts
from fornada.formats.npy import from_npy
from fornada.formats.tensor_file import from_tensor_file, needs_tensor_file
from fornada.tensors import InputTensor
from gateway.http.body_limits import MediaTypeError
from gateway.http.wrong_fields import Fields
from gateway.predicting.bodies import LARGE_BYTES, body_parts, check_item_count, read_body
from gateway.predicting.json_items import with_bytes
from model_store.manifest import ModelManifest
from producer.inputs.interface import ImageFile, Inputs

JSON = "application/json"
JSON_LINES = "application/jsonl"
NPY = "application/x-npy"
SAFETENSORS = "application/vnd.safetensors"
_MULTIPART = "multipart/form-data"
_BYTES = "application/octet-stream"
_TEXT = "text/plain"
TYPES_IN_WORDS = (
    f"{JSON}, image/*, {_MULTIPART} with a file an image, {NPY}, {SAFETENSORS} or {_TEXT}"
)
#: Parts of a form: an image each.
_MOST_FILES = 1000
#: Names of inputs in JSON.
_MOST_INPUTS = 64
_NPY_MAGIC = b"\x93NUMPY"
_WHERE = "the body"


class PredictBody(BaseModel):
    """Items as JSON."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[
        list[Any] | dict[str, list[Any]],
        Field(
            description="An item each, in the shape that the model takes; for several inputs, such "
            "a list by name, or an item's values by name each. An image file, or bytes, as "
            '`{"b64": "…"}`.'
        ),
    ]


async def inputs_of(request: Request, model: ModelManifest) -> Inputs:
    """The items in the body of `request`, for `model`.

    Raises:
        InputError: It is not what its type says.
        MediaTypeError: It is of no type that is read here.
        TooLargeError: It is too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _MULTIPART:
        return await _files(request)
    data = await read_body(request)
    if not data:
        raise InputError(f"the request has no body; send items as {TYPES_IN_WORDS}")
    if len(data) > LARGE_BYTES:
        return await run_in_threadpool(_inputs, data, kind, model)
    return _inputs(data, kind, model)


def _inputs(data: bytes, kind: str, model: ModelManifest) -> Inputs:
    if kind == JSON:
        return _of_json(data)
    if kind == _BYTES:
        kind = _sniffed(data)
    if kind == NPY:
        return from_npy(data, where=_WHERE)
    if kind == SAFETENSORS:
        return _of_tensors(data, model)
    if kind.startswith("image/"):
        return [ImageFile(name="the image", data=data)]
    if kind == _TEXT:
        return [_text(data)]
    given = f"of type {kind[:100]!r}" if kind else "of no stated type"
    raise MediaTypeError(f"the body is {given}; send {TYPES_IN_WORDS}")


def _of_json(data: bytes) -> dict[str, Array | list[Any]] | Array | list[Any]:
    try:
        items = PredictBody.model_validate_json(data).items
    except ValidationError as exc:
        schema = PredictBody.model_json_schema()
        errors = exc.errors(include_url=False, include_input=False)
        where, why = next(iter(Fields(schema, document=schema).wrong(errors).items()))
        raise InputError(
            f'{where or _WHERE}: {why[:200]}; send {{"items": [an item each]}}, or such a list by '
            "the name of each input"
        ) from None
    if isinstance(items, dict):
        if len(items) > _MOST_INPUTS:
            raise InputError(f"items has {len(items)} names; send one for each input of the model")
        return {name: _column(each, where=f"items[{name!r}]") for name, each in items.items()}
    return _column(items, where="items")


def _column(items: list[Any], *, where: str) -> Array | list[Any]:
    """Items as an array if they are one of numbers; with bytes in place of base64."""
    check_item_count(len(items), where=where)
    decoded = with_bytes(items, where=where)
    if decoded is not items:
        return decoded
    if holds_texts(items):
        return items
    try:
        array = np.asarray(items)
    except (ValueError, OverflowError):
        # They differ in shape.
        return items
    return array if array.dtype.kind in "buif" and array.size else items


def _sniffed(data: bytes) -> str:
    """The type of a body that states none, by how it begins."""
    if data.startswith(_NPY_MAGIC):
        return NPY
    return "image/*" if is_image(data[:HEAD_BYTES]) else SAFETENSORS


def _of_tensors(data: bytes, model: ModelManifest) -> Inputs:
    if needs_tensor_file(model.inputs) and any(map(_is_special, model.inputs)):
        return dict(from_tensor_file(data, model.inputs, where=_WHERE))
    try:
        return dict(load(data))
    except (SafetensorError, KeyError, ValueError, TypeError) as exc:
        raise InputError(
            f"{_WHERE} is not a readable safetensors file ({str(exc)[:200]}); write it again"
        ) from None


def _is_special(tensor: InputTensor) -> bool:
    """Whether a tensor file has its values apart from where each item begins."""
    return tensor.dtype == "string" or tensor.is_open


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise InputError(f"{_WHERE} is not UTF-8 ({exc}); send text as UTF-8") from None


async def _files(request: Request) -> Sequence[ImageFile]:
    """The files of a form, an item each, in their order."""
    parser = MultiPartParser(
        request.headers, body_parts(request), max_files=_MOST_FILES, max_fields=0
    )
    try:
        form = await parser.parse()
    except (MultiPartException, MultipartParseError, KeyError) as exc:
        raise InputError(
            f"the form cannot be read ({str(exc)[:200]}); send a file an image"
        ) from None
    files = []
    try:
        for number, (_, part) in enumerate(form.multi_items()):
            if isinstance(part, UploadFile):
                name = (part.filename or f"file {number}")[:200]
                files.append(ImageFile(name=name, data=await part.read(), item_id=name))
    finally:
        await form.close()
    if not files:
        raise InputError("the form has no files; send a file an image")
    return files
