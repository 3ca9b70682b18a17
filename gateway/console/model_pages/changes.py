"""Move aliases: promote a version, and roll back. Each asks first."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from fornada import keys
from fornada.errors import GateNotMetError, UsageError
from gateway.auth.callers import TheDeployment
from gateway.auth.scopes import Scope
from gateway.console.viewers import FormChecked, TheVisit
from model_store.aliases import rollback_target
from model_store.gates import Gate, check_gates
from model_store.manifest import ModelManifest, ModelRef
from model_store.store import ModelStore

router = APIRouter(prefix="/models/{name}")

_DEFAULT_ALIAS = "prod"


@router.get("/promote")
def ask_to_promote(
    name: str,
    visit: TheVisit,
    deployment: TheDeployment,
    version: Annotated[int, Query(ge=1)],
    alias: str = _DEFAULT_ALIAS,
) -> HTMLResponse:
    """Ask before an alias moves."""
    visit.principal.require(Scope.MODELS_WRITE)
    return _promotion(name, version, visit, deployment.models, alias=alias)


@router.post("/promote", dependencies=[FormChecked])
def promote(
    name: str,
    visit: TheVisit,
    deployment: TheDeployment,
    *,
    version: Annotated[int, Form(ge=1)],
    alias: Annotated[str, Form()],
    gates: Annotated[str, Form()] = "",
) -> Response:
    """Point an alias at a version, if its metrics pass the gates."""
    visit.principal.require(Scope.MODELS_WRITE)
    models = deployment.models
    manifest = _exactly(models, name, version)
    try:
        keys.check_name("alias", alias.strip())
        parsed = [Gate.parse(line) for line in gates.splitlines() if line.strip()]
        check_gates(parsed, manifest.metrics, model=str(manifest))
    except (GateNotMetError, UsageError) as exc:
        return _promotion(name, version, visit, models, alias=alias, gates=gates, wrong=exc)
    models.promote(name, version, alias.strip())
    return RedirectResponse(f"/models/{name}#aliases", HTTPStatus.SEE_OTHER)


@router.get("/roll-back")
def ask_to_roll_back(
    name: str, visit: TheVisit, deployment: TheDeployment, alias: str
) -> HTMLResponse:
    """Ask before an alias returns."""
    visit.principal.require(Scope.MODELS_WRITE)
    models = deployment.models
    moves = models.alias_history(keys.check_name("model name", name), alias)
    target = rollback_target(moves, models.versions(name), alias=alias)
    return visit.render(
        "roll_back", name=name, alias=alias, current=moves[-1].version, target=target
    )


@router.post("/roll-back", dependencies=[FormChecked])
def roll_back(
    name: str, visit: TheVisit, deployment: TheDeployment, alias: Annotated[str, Form()]
) -> RedirectResponse:
    """Point an alias where it pointed before."""
    visit.principal.require(Scope.MODELS_WRITE)
    deployment.models.rollback(keys.check_name("model name", name), keys.check_name("alias", alias))
    return RedirectResponse(f"/models/{name}#aliases", HTTPStatus.SEE_OTHER)


def _exactly(models: ModelStore, name: str, version: int) -> ModelManifest:
    return models.resolve(ModelRef(name=keys.check_name("model name", name), version=version))


def _promotion(
    name: str,
    version: int,
    visit: TheVisit,
    models: ModelStore,
    *,
    alias: str,
    gates: str = "",
    wrong: GateNotMetError | UsageError | None = None,
) -> HTMLResponse:
    return visit.render(
        "promote",
        http_status=HTTPStatus.OK if wrong is None else wrong.http_status,
        manifest=_exactly(models, name, version),
        aliases=models.aliases(name),
        alias=alias,
        gates=gates,
        wrong="" if wrong is None else str(wrong),
    )
