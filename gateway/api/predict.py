"""/v1/models/{model}/predict: results now, and nothing kept."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from fornada.errors import PredictionErrors
from gateway.auth.callers import Caller, TheDeployment
from gateway.auth.scopes import Scope
from gateway.http.problems import WrongField, problem_response
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

_MOST_TOP = 1000
#: More failed items are counted and not listed.
_MOST_LISTED = 20
#: Larger outputs are written in a thread.
_LARGE_BYTES = 64 * 1024
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_BODY: dict[str, Any] = {
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
    }
}


@router.post(
    "/{model}/predict",
    response_model=PredictDocument,
    responses={
        HTTPStatus.OK: {"content": {NPY: _BINARY, SAFETENSORS: _BINARY}},
    },
    openapi_extra=_BODY,
)
async def predict(  # noqa: PLR0917 - FastAPI passes them by name
    request: Request,
    deployment: TheDeployment,
    caller: Caller,
    model: Annotated[
        str, Path(description="`name@alias`, `name:version`, or `name` for the newest.")
    ],
    timeout_s: Annotated[float, Query(gt=0, le=MAX_TIMEOUT_S)] = 10.0,
    top_k: Annotated[
        int | None, Query(ge=1, le=_MOST_TOP, description="Lists so many likeliest classes.")
    ] = None,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """Predict the items in the body, a megabyte at most; no job is made, and nothing is kept.

    An item that fails does so alone: `errors` says why. If all fail, or the answer's format has no
    room for reasons, the request fails with 422. 429: a thousand calls wait already. 504: no worker
    answered in time.
    """
    caller.require(Scope.PREDICT)
    media_type, write = writer_of(accept)
    manifest = await deployment.async_client.recent_model(model)
    inputs = await inputs_of(request, manifest)
    try:
        result = await deployment.async_client.predict_with(
            inputs, model=manifest, timeout_s=timeout_s
        )
        if len(result.errors) == result.item_count:
            result.checked()
        if size_bytes(result) > _LARGE_BYTES:
            data = await run_in_threadpool(write, result, top_k)
        else:
            data = write(result, top_k)
    except PredictionErrors as exc:
        return failed_items(request, exc)
    return Response(data, media_type=media_type)


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
