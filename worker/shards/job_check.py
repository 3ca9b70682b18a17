"""Whether a job says of its items and results what its model says."""

from typing import Any

from fornada.errors import JobRefusedError
from fornada.jobs.manifest import JobManifest
from fornada.records import JOB_VERSION
from fornada.tensors import InputTensor, OutputTensor
from model_store.manifest import ModelManifest

_MOST_CHARACTERS = 100


def check_says_what_its_model_says(job: JobManifest, model: ModelManifest) -> None:
    """Check the job's inputs and outputs against the model's; only image preprocessing may differ.

    Any producer may have written the manifest. NumPy would broadcast items of a wrong shape, and
    every reader would name the results by wrong classes.

    Raises:
        JobRefusedError: They differ.
    """
    named = job.schema_version >= JOB_VERSION
    sides = (
        (
            "input",
            [_input_facts(tensor, named=named) for tensor in job.takes],
            [_input_facts(tensor, named=named) for tensor in model.inputs],
        ),
        (
            "output",
            [_output_facts(tensor, named=named) for tensor in job.gives],
            [_output_facts(tensor, named=named) for tensor in model.outputs],
        ),
    )
    for what, says, wants in sides:
        if len(says) != len(wants):
            raise JobRefusedError(
                f"the job has {len(says)} {what}s, and model {model} has {len(wants)}; submit it "
                f"with the {what}s of the model's manifest"
            )
        for said, wanted in zip(says, wants, strict=True):
            _check_facts(said, wanted, what=what, model=model)


def _check_facts(
    said: dict[str, Any], wanted: dict[str, Any], *, what: str, model: ModelManifest
) -> None:
    for fact, value in wanted.items():
        if said[fact] != value:
            raise JobRefusedError(
                f"the job's {what} has {fact} {_short(said[fact])}, and that of model {model} "
                f"has {_short(value)}; submit it with the {what}s of the model's manifest"
            )


def _input_facts(tensor: InputTensor, *, named: bool) -> dict[str, Any]:
    if named:
        return tensor.model_dump(exclude={"image"})
    return {"dtype": tensor.dtype, "shape": tensor.shape}


def _output_facts(tensor: OutputTensor, *, named: bool) -> dict[str, Any]:
    if named:
        return tensor.model_dump()
    # Manifests from before tensors had names say no more.
    return {"classes": tensor.columns, "task": tensor.task}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
