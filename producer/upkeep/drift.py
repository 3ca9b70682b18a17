"""Compare what a job predicted with what is expected: of its model, or by another job."""

from collections.abc import Mapping

from fornada import keys
from fornada.errors import DriftUnknownError, FornadaError, JobStateError
from fornada.figures.drift import Drift, gravest, output_drift
from fornada.figures.predictions import OutputFigures, class_names
from fornada.figures.reference import Reference
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore
from fornada.records import MAX_SMALL_JSON_BYTES
from fornada.tensors import CLASS_KINDS
from model_store.manifest import ModelManifest, ModelRef
from model_store.store import ModelStore

_REMEDY = "train it with `fornada train`, publish it with test items, or compare with another job"


def drift_from_model(manifest: JobManifest, *, jobs: JobStore, models: ModelStore) -> Drift:
    """How the predictions of an ended job differ from those for its model's test items.

    Raises:
        DriftUnknownError: There are no figures of either.
        JobStateError: The job has not ended.
        ModelNotFoundError: The model is gone.
    """
    model = manifest.model
    found = _predicted(manifest, jobs)
    version = models.resolve(ModelRef(name=model.name, version=model.version))
    expected = _reference(version, models)
    return _drift(manifest, found, expected, against=f"the test items of {model}")


def drift_from_job(manifest: JobManifest, against: JobManifest, *, jobs: JobStore) -> Drift:
    """How the predictions of an ended job differ from those of another.

    Raises:
        DriftUnknownError: There are no figures of either, or they have no output in common.
        JobStateError: One has not ended.
    """
    found, expected = (_predicted(each, jobs) for each in (manifest, against))
    meanings = {output.name: (output.kind, class_names(output)) for output in against.gives}
    alike = {
        output.name: expected[output.name]
        for output in manifest.gives
        if output.name in expected
        and meanings.get(output.name) == (output.kind, class_names(output))
    }
    return _drift(manifest, found, alike, against=f"job {against.job_id}")


def _reference(version: ModelManifest, models: ModelStore) -> Mapping[str, OutputFigures]:
    ref = version.files.get(keys.REFERENCE)
    if ref is None or ref.size_bytes > MAX_SMALL_JSON_BYTES:
        fact = "was published without test items, so nothing is expected of it"
        raise DriftUnknownError(f"model {version} {fact}; {_REMEDY}")
    try:
        return Reference.from_json(models.fetch(ref), where=ref.key).predicted
    except FornadaError as exc:
        if exc.may_pass_later:
            raise
        # Whoever published the model may have stored anything there.
        raise DriftUnknownError(f"{exc}; {_REMEDY}") from exc


def _predicted(manifest: JobManifest, jobs: JobStore) -> Mapping[str, OutputFigures]:
    job_id = manifest.job_id
    final = jobs.end_of(manifest)
    if final is None:
        raise JobStateError(f"job {job_id} has not ended; wait for it first")
    if not any(output.kind in CLASS_KINDS for output in manifest.gives):
        raise DriftUnknownError(
            f"model {manifest.model} of job {job_id} names no classes; compare its values in the "
            "results"
        )
    figures = final.figures_for(manifest.gives)
    if figures is None or not figures.predicted:
        raise DriftUnknownError(
            f"no shard of job {job_id} says what was predicted; submit it again, to workers of "
            "this release"
        )
    return figures.predicted


def _drift(
    manifest: JobManifest,
    found: Mapping[str, OutputFigures],
    expected: Mapping[str, OutputFigures],
    *,
    against: str,
) -> Drift:
    compared = [
        output_drift(output, found[output.name], expected[output.name])
        for output in manifest.gives
        if output.name in found and output.name in expected and expected[output.name].fits(output)
    ]
    outputs = [each for each in compared if each is not None]
    if not outputs:
        raise DriftUnknownError(
            f"job {manifest.job_id} and {against} have no items with a result of the same output "
            "and classes; compare with a job of the same model"
        )
    return Drift(
        job_id=manifest.job_id,
        model=str(manifest.model),
        against=against,
        verdict=gravest(outputs),
        outputs=outputs,
    )
