"""`/try`: choose a model, drop images or paste a row, see what it gives."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData, UploadFile

from fornada.errors import FornadaError, UsageError
from fornada.parallel import in_parallel
from gateway.auth.callers import TheDeployment
from gateway.auth.scopes import Scope
from gateway.console.page_headers import MAX_UPLOAD_BYTES
from gateway.console.trying.items import MOST_ITEMS, Tried, example, of_file, of_text, pictured
from gateway.console.trying.predicting import Result, Trial
from gateway.console.viewers import TheVisit, Visit, check_form
from gateway.deployment import Deployment
from model_store.manifest import ModelManifest
from model_store.store import ModelStore

router = APIRouter()

_MOST_FIELDS = 8
#: Versions of a model to choose from, the newest ones.
_MOST_VERSIONS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a form says."""

    model: str = ""
    beside: str = ""
    text: str = ""
    files: Sequence[UploadFile] = field(default_factory=list)


def trial_of(request: Request) -> Trial:
    """What predicts for the console that a request is for."""
    trial: Trial = request.app.state.trial
    return trial


TheTrial = Annotated[Trial, Depends(trial_of)]


@router.get("/try")
def form(
    visit: TheVisit, deployment: TheDeployment, model: str = "", beside: str = ""
) -> HTMLResponse:
    """The form."""
    visit.principal.require(Scope.PREDICT)
    return _page(visit, deployment, Wanted(model=model, beside=beside))


@router.post("/try")
async def predict(
    request: Request, visit: TheVisit, deployment: TheDeployment, trial: TheTrial
) -> HTMLResponse:
    """What the model gives for what the form has."""
    visit.principal.require(Scope.PREDICT)
    # Read here, so that nobody's files are before it is known who sends them.
    async with request.form(
        max_files=MOST_ITEMS, max_fields=_MOST_FIELDS, max_part_size=MAX_UPLOAD_BYTES
    ) as sent:
        token = str(sent.get("form_token", ""))
        await run_in_threadpool(check_form, request, deployment, visit.viewer, token)
        return await run_in_threadpool(partial(_tried, visit, deployment, trial, _wanted(sent)))


def _wanted(sent: FormData) -> Wanted:
    texts = {name: str(sent.get(name, "")) for name in ("model", "beside", "text")}
    files = [each for each in sent.getlist("files") if isinstance(each, UploadFile)]
    # A browser sends a file without a name where none was chosen.
    return Wanted(**texts, files=[each for each in files if each.filename])


def _tried(visit: Visit, deployment: Deployment, trial: Trial, wanted: Wanted) -> HTMLResponse:
    try:
        models = [deployment.models.resolve(wanted.model)]
        if wanted.beside:
            models.append(deployment.models.resolve(wanted.beside))
        results = trial.results(_items(wanted, models[0]), models)
    except FornadaError as exc:
        return _page(visit, deployment, wanted, wrong=exc)
    return _page(visit, deployment, wanted, results=results, models=models)


def _items(wanted: Wanted, manifest: ModelManifest) -> list[Tried]:
    taken = pictured(manifest)
    if wanted.files:
        if taken is None:
            raise UsageError(f"model {manifest} takes no image files; paste a row")
        read = [(each.filename or "file", each.file.read()) for each in wanted.files]
        return list(in_parallel(lambda file: of_file(*file, taken), read))
    if not wanted.text.strip():
        raise UsageError("nothing was given; choose images or paste a row")
    return of_text(wanted.text, manifest)


def _page(
    visit: Visit,
    deployment: Deployment,
    wanted: Wanted,
    *,
    results: Sequence[Result] = (),
    models: Sequence[ModelManifest] = (),
    wrong: FornadaError | None = None,
) -> HTMLResponse:
    choices = [] if visit.wants_part else _choices(deployment.models)
    chosen = wanted.model or next(iter(choices), "")
    manifest = None
    if chosen:
        try:
            manifest = deployment.models.resolve(chosen)
        except FornadaError as exc:
            wrong = wrong or exc
    return visit.render(
        "try",
        http_status=200 if wrong is None else wrong.http_status,
        choices=choices if chosen in choices or not chosen else [chosen, *choices],
        wanted=wanted,
        chosen=chosen,
        manifest=manifest,
        takes_images=manifest is not None and pictured(manifest) is not None,
        example="" if manifest is None else example(manifest),
        most_items=MOST_ITEMS,
        most_bytes=MAX_UPLOAD_BYTES,
        results=results,
        models=[str(model) for model in models],
        wrong="" if wrong is None else wrong.public_text,
    )


def _choices(models: ModelStore) -> list[str]:
    """References to choose from: aliases before versions, the newest first."""

    def of_model(name: str) -> list[str]:
        versions = models.versions(name)[-_MOST_VERSIONS:][::-1]
        aliases = sorted(models.aliases(name))
        return [*(f"{name}@{alias}" for alias in aliases), *(f"{name}:{n}" for n in versions)]

    return [choice for some in in_parallel(of_model, models.names()) for choice in some]
