"""Models, versions and their reports, as pages."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from fornada import keys
from fornada.errors import IntegrityError, MessageError, ModelNotFoundError, ObjectNotFoundError
from fornada.parallel import in_parallel
from fornada.records import AliasMove
from gateway.auth.callers import TheDeployment
from gateway.auth.scopes import Scope
from gateway.console.viewers import TheVisit
from model_store.difference import differences
from model_store.gates import more_is_better
from model_store.manifest import ModelManifest, ModelRef
from model_store.store import ModelStore

router = APIRouter(prefix="/models")

#: Versions of one model that a page shows, the newest ones.
_MOST_VERSIONS = 50
_MOST_MOVES = 20
#: Metrics that a list shows, the first that a model has.
_QUALITIES = ("test_accuracy", "val_accuracy", "test_mean_absolute_error", "test_loss")
#: The report's own styles, and nothing else: no script, no form, no origin.
_REPORT_POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelLine:
    """A model in the list."""

    newest: ModelManifest
    versions: list[int]
    aliases: dict[str, int]

    @property
    def quality(self) -> tuple[str, float] | None:
        """The metric that says most, if there is one."""
        metrics = self.newest.metrics
        known = next((name for name in _QUALITIES if name in metrics), next(iter(metrics), None))
        return None if known is None else (known, metrics[known])


@router.get("")
def listing(visit: TheVisit, deployment: TheDeployment) -> HTMLResponse:
    """All models."""
    visit.principal.require(Scope.MODELS_READ)
    models = deployment.models
    lines = in_parallel(lambda name: _line(models, name), models.names())
    return visit.render("models", lines=[line for line in lines if line is not None])


@router.get("/{name}")
def model(name: str, visit: TheVisit, deployment: TheDeployment) -> HTMLResponse:
    """A model: its versions, and where its aliases point and pointed."""
    visit.principal.require(Scope.MODELS_READ)
    models = deployment.models
    numbers = _versions(models, name)
    shown = numbers[-_MOST_VERSIONS:][::-1]
    manifests = [each for each in in_parallel(lambda n: _manifest(models, name, n), shown) if each]
    aliases = models.aliases(name)
    return visit.render(
        "model",
        name=name,
        versions=manifests,
        left_out=len(numbers) - len(shown),
        metrics=_metrics(manifests),
        best=_best(manifests),
        aliases=aliases,
        history={alias: _history(models, name, alias) for alias in sorted(aliases)},
    )


@router.get("/{name}/compare")
def compare(
    name: str,
    visit: TheVisit,
    deployment: TheDeployment,
    first: Annotated[int, Query(ge=1)],
    second: Annotated[int, Query(ge=1)],
) -> HTMLResponse:
    """What differs between two versions."""
    visit.principal.require(Scope.MODELS_READ)
    models = deployment.models
    numbers = _versions(models, name)
    pair = [models.resolve(ModelRef(name=name, version=number)) for number in (first, second)]
    found = differences(*pair)
    return visit.render(
        "compare",
        name=name,
        numbers=numbers[::-1],
        first=pair[0],
        second=pair[1],
        metrics=[each for each in found if each.fact.startswith("metrics.")],
        facts=[each for each in found if not each.fact.startswith("metrics.")],
        more_is_better=more_is_better,
    )


@router.get("/{name}/{version}")
def version(name: str, version: int, visit: TheVisit, deployment: TheDeployment) -> HTMLResponse:
    """A version: what it takes and gives, its quality, how it was made."""
    visit.principal.require(Scope.MODELS_READ)
    models = deployment.models
    manifest = models.resolve(ModelRef(name=keys.check_name("model name", name), version=version))
    aliases = models.aliases(name)
    return visit.render(
        "version",
        manifest=manifest,
        aliases=sorted(alias for alias, number in aliases.items() if number == version),
        others=[number for number in _versions(models, name)[::-1] if number != version],
        has_report=keys.REPORT_PAGE in manifest.files,
        parameters=_parameters(manifest),
    )


@router.get("/{name}/{version}/report")
def report(name: str, version: int, visit: TheVisit, deployment: TheDeployment) -> Response:
    """The training report, as its publisher stored it, in a sandbox."""
    visit.principal.require(Scope.MODELS_READ)
    models = deployment.models
    manifest = models.resolve(ModelRef(name=keys.check_name("model name", name), version=version))
    ref = manifest.files.get(keys.REPORT_PAGE)
    if ref is None:
        raise ModelNotFoundError(f"model {manifest} was published without a training report")
    return Response(
        models.fetch(ref),
        media_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": _REPORT_POLICY},
    )


def _line(models: ModelStore, name: str) -> ModelLine | None:
    versions = models.versions(name)
    newest = _manifest(models, name, versions[-1]) if versions else None
    if newest is None:
        return None
    return ModelLine(newest=newest, versions=versions, aliases=models.aliases(name))


def _versions(models: ModelStore, name: str) -> list[int]:
    found = models.versions(keys.check_name("model name", name))
    if not found:
        raise ModelNotFoundError(f"there is no model {name}; /models lists those that exist")
    return found


def _manifest(models: ModelStore, name: str, number: int) -> ModelManifest | None:
    # Of a later release, or damaged: the others are shown.
    try:
        return models.resolve(ModelRef(name=name, version=number))
    except (MessageError, IntegrityError, ModelNotFoundError, ObjectNotFoundError):
        return None


def _history(models: ModelStore, name: str, alias: str) -> Sequence[AliasMove]:
    return models.alias_history(name, alias)[-_MOST_MOVES:][::-1]


def _metrics(manifests: Sequence[ModelManifest]) -> list[str]:
    """The metrics that a table has room for, those of the test items first."""
    names = sorted({name for manifest in manifests for name in manifest.metrics})
    return sorted(names, key=lambda name: not name.startswith("test_"))[:3]


def _best(manifests: Sequence[ModelManifest]) -> dict[str, float]:
    """The best value of each metric, where several versions have it."""
    best = {}
    for name in _metrics(manifests):
        values = [each.metrics[name] for each in manifests if name in each.metrics]
        if len(set(values)) > 1:
            best[name] = max(values) if more_is_better(name) else min(values)
    return best


def _parameters(manifest: ModelManifest) -> dict[str, Any]:
    training = manifest.training
    if training is None:
        return {}
    return {
        name: value if isinstance(value, int | float | str) else json.dumps(value)
        for name, value in training.parameters.items()
    }
