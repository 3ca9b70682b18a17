"""/v1/models: the models that jobs may name, their versions, and their aliases."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from fornada import keys
from fornada.errors import ModelNotFoundError
from fornada.parallel import in_parallel
from gateway.api.model_document import (
    AliasDocument,
    AliasMoveDocument,
    ModelAliasesDocument,
    ModelListDocument,
    ModelSummaryDocument,
    VersionDocument,
    VersionListDocument,
)
from gateway.auth.callers import Caller, TheDeployment
from gateway.auth.scopes import Scope
from model_store.gates import Gate, check_gates
from model_store.manifest import ModelManifest, ModelRef
from model_store.store import ModelStore

router = APIRouter(prefix="/v1/models", tags=["models"])

#: A report is a page of one file; it runs nothing, and is of no origin.
_REPORT_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"

ModelName = Annotated[str, Path(pattern=keys.NAME_PATTERN)]
AliasName = Annotated[str, Path(pattern=keys.NAME_PATTERN)]
VersionNumber = Annotated[int, Path(ge=1, lt=10**16)]


class PromotionRequest(BaseModel):
    """Where an alias is to point."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, lt=10**16)
    gates: list[str] = Field(
        default_factory=list,
        max_length=100,
        description="Conditions on the version's metrics, `val_accuracy>=0.85`; 409 if one fails.",
    )


@router.get("")
def list_models(deployment: TheDeployment, caller: Caller) -> ModelListDocument:
    """All models, with their aliases."""
    caller.require(Scope.MODELS_READ)
    models = deployment.models

    def summary(name: str) -> ModelSummaryDocument:
        versions = models.versions(name)
        return ModelSummaryDocument(
            name=name, versions=len(versions), latest=versions[-1], aliases=models.aliases(name)
        )

    return ModelListDocument(data=list(in_parallel(summary, models.names())))


@router.get("/{model}")
def show_model(model: ModelName, deployment: TheDeployment, caller: Caller) -> ModelAliasesDocument:
    """The model's versions, and every move of its aliases."""
    caller.require(Scope.MODELS_READ)
    models = deployment.models
    versions = models.versions(model)
    if not versions:
        models.resolve(ModelRef(name=model))
    return ModelAliasesDocument(
        name=model,
        versions=versions,
        aliases=[_alias(models, model, alias) for alias in sorted(models.aliases(model))],
    )


@router.get("/{model}/versions")
def list_versions(
    model: ModelName, deployment: TheDeployment, caller: Caller
) -> VersionListDocument:
    """The model's versions with what is known of each, the newest first."""
    caller.require(Scope.MODELS_READ)
    models = deployment.models
    versions = models.versions(model)[::-1] or [models.version_of(ModelRef(name=model))]

    def manifest(version: int) -> ModelManifest:
        return models.resolve(ModelRef(name=model, version=version))

    found = in_parallel(manifest, versions)
    return VersionListDocument(data=[VersionDocument.of(each) for each in found])


@router.get("/{model}/versions/{version}")
def show_version(
    model: ModelName, version: VersionNumber, deployment: TheDeployment, caller: Caller
) -> VersionDocument:
    """What is known of a version: what it takes and gives, metrics, digest, training."""
    caller.require(Scope.MODELS_READ)
    return VersionDocument.of(deployment.models.resolve(ModelRef(name=model, version=version)))


@router.get("/{model}/versions/{version}/report", response_class=HTMLResponse)
def show_report(
    model: ModelName, version: VersionNumber, deployment: TheDeployment, caller: Caller
) -> HTMLResponse:
    """The training report, as it was stored; 404 of a version without one."""
    caller.require(Scope.MODELS_READ)
    manifest = deployment.models.resolve(ModelRef(name=model, version=version))
    report = manifest.files.get(keys.REPORT_PAGE)
    if report is None:
        raise ModelNotFoundError(f"model {manifest} has no report; `fornada train` writes one")
    return HTMLResponse(
        deployment.models.fetch(report),
        headers={
            "Content-Security-Policy": _REPORT_POLICY,
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.post("/{model}/aliases/{alias}")
def promote_version(
    model: ModelName,
    alias: AliasName,
    request: PromotionRequest,
    deployment: TheDeployment,
    caller: Caller,
) -> AliasDocument:
    """Point an alias at a version; jobs submitted from now on use it, running ones do not."""
    caller.require(Scope.MODELS_WRITE)
    gates = [Gate.parse(gate) for gate in request.gates]
    models = deployment.models
    manifest = models.resolve(ModelRef(name=model, version=request.version))
    check_gates(gates, manifest.metrics, model=str(manifest))
    models.promote(model, request.version, alias)
    return _alias(models, model, alias)


@router.post("/{model}/aliases/{alias}/rollback")
def roll_back(
    model: ModelName, alias: AliasName, deployment: TheDeployment, caller: Caller
) -> AliasDocument:
    """Point an alias back at its previous version; repeated, at the one before that."""
    caller.require(Scope.MODELS_WRITE)
    deployment.models.rollback(model, alias)
    return _alias(deployment.models, model, alias)


def _alias(models: ModelStore, model: str, alias: str) -> AliasDocument:
    moves = [
        AliasMoveDocument(**move.model_dump(exclude={"schema_version"}))
        for move in models.alias_history(model, alias)
    ]
    return AliasDocument(
        alias=alias,
        version=moves[-1].version,
        history=[
            AliasMoveDocument(**move.model_dump(exclude={"schema_version"})) for move in moves
        ],
    )
