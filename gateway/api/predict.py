"""/v1/models/{model}/predict: results now, and nothing kept."""

import re
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool

from fornada.errors import PredictionErrors, UsageError
from gateway.auth.callers import bearer, caller_of, deployment_of
from gateway.auth.scopes import Scope
from gateway.http.direct_paths import DirectPath
from gateway.http.problems import WrongField, problem_response, with_problems
from gateway.predicting.bodies import LARGE_BYTES
from gateway.predicting.inputs import (
    JSON,
    NPY,
    SAFETENSORS,
    PredictBody,
    inputs_of,
)
from gateway.predicting.outputs import PredictDocument, size_bytes, writer_of
from producer.calls.call import MAX_TIMEOUT_S

router = APIRouter(prefix="/v1/models", tags=["models"])

_DEFAULT_TIMEOUT_S = 10.0
_MOST_TOP = 1000
#: More failed items are counted and not listed.
_MOST_LISTED = 20
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_DESCRIBED: dict[str, Any] = {
    "parameters": [
        {
            "name": "model",
            "in": "path",
            "required": True,
            "description": "`name@alias`, `name:version`, or `name` for the newest.",
            "schema": {"type": "string"},
        },
        {
            "name": "timeout_s",
            "in": "query",
            "description": "How long to wait, in seconds.",
            "schema": {
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": MAX_TIMEOUT_S,
                "default": _DEFAULT_TIMEOUT_S,
            },
        },
        {
            "name": "top_k",
            "in": "query",
            "description": "Lists so many likeliest classes of each item.",
            "schema": {"type": "integer", "minimum": 1, "maximum": _MOST_TOP},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": PredictBody.model_json_schema()},
            "image/*": _BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "image": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
            NPY: _BINARY,
            SAFETENSORS: _BINARY,
            "text/plain": {"schema": {"type": "string"}},
        },
    },
}


@router.post(
    "/{model}/predict",  # noqa: FAST003 - it is read from the request
    response_model=PredictDocument,
    responses={HTTPStatus.OK: {"content": {NPY: _BINARY, SAFETENSORS: _BINARY}}},
    openapi_extra=_DESCRIBED,
    dependencies=[Depends(bearer)],
)
async def predict(request: Request) -> Response:
    """Predict the items in the body, a megabyte at most; no job is made, and nothing is kept.

    An item that fails does so alone: `errors` says why. If all fail, or the answer's format has no
    room for reasons, the request fails with 422. 429: a thousand calls wait already. 504: no worker
    answered in time.
    """
    (await caller_of(request)).require(Scope.PREDICT)
    client = deployment_of(request).async_client
    media_type, write = writer_of(request.headers.get("accept"))
    timeout_s, top_k = _wanted(request)
    model = await client.recent_model(request.path_params["model"])
    try:
        with request.app.state.large_bodies.room_for(request.headers):
            inputs = await inputs_of(request, model)
            result = await client.predict_with(inputs, model=model, timeout_s=timeout_s)
        if len(result.errors) == result.item_count:
            result.checked()
        if size_bytes(result) > LARGE_BYTES:
            data = await run_in_threadpool(write, result, top_k)
        else:
            data = write(result, top_k)
    except PredictionErrors as exc:
        return failed_items(request, exc)
    return Response(data, media_type=media_type)


#: Served without FastAPI's router.
DIRECT = DirectPath(
    re.compile(r"/v1/models/(?P<model>[^/]+)/predict"),
    with_problems(predict),
    "/v1/models/{model}/predict",
)


def _wanted(request: Request) -> tuple[float, int | None]:
    """How long to wait, and how many likeliest classes to list.

    Raises:
        UsageError: A number is none, or out of range.
    """
    if not request.scope["query_string"]:
        return _DEFAULT_TIMEOUT_S, None
    given = request.query_params
    timeout_s = given.get("timeout_s", str(_DEFAULT_TIMEOUT_S))
    top_k = given.get("top_k")
    try:
        seconds = float(timeout_s)
    except ValueError:
        raise UsageError(f"timeout_s is {timeout_s[:40]!r}; give seconds") from None
    if top_k is not None and not (top_k.isdecimal() and 0 < int(top_k[:9]) <= _MOST_TOP):
        raise UsageError(f"top_k is {top_k[:40]!r}; give 1 to {_MOST_TOP}")
    return seconds, None if top_k is None else int(top_k)


def failed_items(request: Request, exc: PredictionErrors) -> Response:
    """The problem of a request whose items failed."""
    failed = sorted(exc.errors.items())[:_MOST_LISTED]
    return problem_response(
        request,
        status=exc.http_status,
        code=type(exc).__name__,
        detail=str(exc),
        errors=[WrongField(where=f"items[{number}]", message=why) for number, why in failed],
    )
