"""/v2: the protocol's endpoints."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from fornada.errors import UsageError
from gateway.auth.callers import Caller, TheDeployment, bearer, caller_of, deployment_of
from gateway.auth.principal import Principal
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from gateway.http.direct_paths import DirectPath
from gateway.oip.documents import (
    ErrorDocument,
    InferRequest,
    InferResponse,
    LiveDocument,
    ModelMetadata,
    ModelReadyDocument,
    ReadyDocument,
    ServerDocument,
)
from gateway.oip.requests import Given, given_tensors, parsed, timeout_of
from gateway.oip.responses import Answer, answer_of
from gateway.oip.routing import OipRoute, with_errors
from gateway.predicting.bodies import LARGE_BYTES, read_body
from gateway.predicting.outputs import size_bytes
from model_store.manifest import ModelManifest

_HEADER_LENGTH = "Inference-Header-Content-Length"
_BINARY: dict[str, Any] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
}

router = APIRouter(
    prefix="/v2",
    tags=["open inference protocol"],
    route_class=OipRoute,
    responses={
        status: {"model": ErrorDocument, "description": why}
        for status, why in ((400, "The request is wrong."), (422, "The items are wrong."))
    },
)

Name = Annotated[str, Path(description="`name@alias`, `name:version`, or `name` for the newest.")]
Version = Annotated[str, Path(pattern=r"^[0-9]{1,9}$", description="A version of the model.")]


@router.get("")
async def server() -> ServerDocument:
    """The server, and the extensions of the protocol that it has."""
    return ServerDocument()


@router.get("/health/live")
async def live() -> LiveDocument:
    """Whether the server lives."""
    return LiveDocument()


@router.get("/health/ready")
async def ready(deployment: TheDeployment) -> ReadyDocument:
    """Whether the server reaches Redis, through which it asks workers."""
    await run_in_threadpool(deployment.client.predictions.waiting_count)
    return ReadyDocument()


@router.get("/models/{model}")
async def show(deployment: TheDeployment, caller: Caller, model: Name) -> ModelMetadata:
    """What a model takes and gives; -1 is the items' axis, or a side that varies."""
    manifest = await _seen_model(deployment, caller, model)
    versions = await run_in_threadpool(deployment.models.versions, manifest.name)
    return ModelMetadata.of(manifest, versions)


@router.get("/models/{model}/versions/{version}")
async def show_version(
    deployment: TheDeployment, caller: Caller, model: Name, version: Version
) -> ModelMetadata:
    """What a version of a model takes and gives."""
    return await show(deployment, caller, _version_of(model, version))


@router.get("/models/{model}/ready")
async def model_ready(deployment: TheDeployment, caller: Caller, model: Name) -> ModelReadyDocument:
    """Whether there is such a model; workers load it at its first call."""
    manifest = await _seen_model(deployment, caller, model)
    return ModelReadyDocument(name=manifest.name)


@router.get("/models/{model}/versions/{version}/ready")
async def version_ready(
    deployment: TheDeployment, caller: Caller, model: Name, version: Version
) -> ModelReadyDocument:
    """Whether there is such a version of a model."""
    return await model_ready(deployment, caller, _version_of(model, version))


_INFER: dict[str, Any] = {
    "response_model": InferResponse,
    "responses": {200: {"content": _BINARY}},
    "dependencies": [Depends(bearer)],
}


_INFER_SCHEMA = InferRequest.model_json_schema()


def _described(*path_parameters: str) -> dict[str, Any]:
    return {
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in path_parameters
            ),
            {
                "name": _HEADER_LENGTH,
                "in": "header",
                "description": "Bytes of JSON before the binary data.",
                "schema": {"type": "integer", "minimum": 0},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _INFER_SCHEMA},
                **_BINARY,
            },
        },
    }


@router.post(
    "/models/{model}/infer",  # noqa: FAST003 - it is read from the request
    **_INFER,
    openapi_extra=_described("model"),
)
@router.post(
    "/models/{model}/versions/{version}/infer",
    **_INFER,
    openapi_extra=_described("model", "version"),
)
async def infer(request: Request) -> Response:
    """Predict the items in the request's tensors, along their first axis; nothing is kept.

    BYTES for an input of images are image files, made items as the model says. If an item fails,
    the request does.
    """
    (await caller_of(request)).require(Scope.PREDICT)
    client = deployment_of(request).async_client
    path = request.path_params
    name, version = path["model"], path.get("version")
    model = await client.recent_model(name if version is None else _version_of(name, version))
    with request.app.state.large_bodies.room_for(request.headers):
        body = await read_body(request)
        length = request.headers.get(_HEADER_LENGTH)
        wanted, given = await _apart(len(body), _read, body, length, model)
        result = await client.predict_with(given, model=model, timeout_s=timeout_of(wanted))
    answer: Answer = await _apart(size_bytes(result), answer_of, wanted, result)
    if answer.json_bytes is None:
        return Response(answer.body, media_type="application/json")
    return Response(
        answer.body,
        media_type="application/octet-stream",
        headers={_HEADER_LENGTH: str(answer.json_bytes)},
    )


#: Served without FastAPI's router.
DIRECT = DirectPath(
    re.compile(r"/v2/models/(?P<model>[^/]+)(/versions/(?P<version>[0-9]{1,9}))?/infer"),
    with_errors(infer),
    "/v2/models/{model}/infer",
)


def _read(
    body: bytes, header_length: str | None, model: ModelManifest
) -> tuple[InferRequest, Given]:
    request, binary = parsed(body, header_length)
    return request, given_tensors(request, binary, model)


async def _apart(work_bytes: int, work: Any, *args: Any) -> Any:
    """What `work` returns, which runs in a thread if it takes long."""
    if work_bytes > LARGE_BYTES:
        return await run_in_threadpool(work, *args)
    return work(*args)


async def _seen_model(deployment: Deployment, caller: Principal, model: str) -> ModelManifest:
    """The model that a request names.

    Raises:
        ForbiddenError: The caller may neither predict nor see models.
        ModelNotFoundError: There is none.
    """
    if Scope.PREDICT not in caller.scopes:
        caller.require(Scope.MODELS_READ)
    return await deployment.async_client.recent_model(model)


def _version_of(model: str, version: str) -> str:
    if ":" in model or "@" in model:
        raise UsageError(f"{model!r} names a version, and the path another; leave one of them out")
    return f"{model}:{version}"
