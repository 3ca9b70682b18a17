"""Publish a model that was loaded or fitted here; every way to publish ends in this check."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import fornada
from fornada.errors import ModelRefusedError, ModelWallError, PredictionError, error_line
from fornada.formats.items import non_finite_rows
from fornada.formats.rows import Rows
from fornada.storage.interface import Content
from fornada.tensors import InputTensor
from model_store.engines.artifact.work import estimate
from model_store.engines.catalog import publishing_engine
from model_store.engines.golden import predict_items
from model_store.engines.keras_setup import import_keras
from model_store.engines.trial import trial_tile
from model_store.manifest import ModelDraft, ModelManifest
from model_store.publishing.keras_backend import backend_version, compile_predict
from model_store.safety.signing import PrivateKey
from model_store.store import ModelStore
from model_store.wall.interface import Wall
from model_store.wall.messages import Check, Passed

#: Items of a golden batch by default.
GOLDEN_ITEMS = 32
_LEAST_GOLDEN_ITEMS = 4
#: 256 MiB in float32, which every load fetches.
_MOST_GOLDEN_NUMBERS = 2**26


def publish_checked(
    draft: ModelDraft,
    *,
    artifact: Content,
    inputs: Path,
    outputs: Path,
    models: ModelStore,
    wall: Wall,
    where: str,
    files: Mapping[str, bytes] | None = None,
    sign_key: PrivateKey | None = None,
) -> ModelManifest:
    """Store a version whose artifact, as read back, reproduces its golden batch.

    Args:
        draft: What the publisher states about the model.
        artifact: The `.keras` file, or its bytes.
        inputs: File of the golden batch, from `to_golden`.
        outputs: File of its outputs.
        models: Where to publish.
        wall: Loads what was stored.
        where: The model, for messages.
        files: Further files of the version, by name.
        sign_key: Signs the manifest.

    Raises:
        ModelRefusedError: The stored artifact does not load, or gives other outputs.
        StoreError: The store cannot be reached or refuses.
    """

    def check(stored: Path) -> Passed:
        request = Check(
            artifact=str(stored),
            where=where,
            allowed_objects=sorted(models.trust.allowed_objects),
            engine=publishing_engine(),
            inputs=draft.inputs,
            outputs=draft.outputs,
            golden_inputs=str(inputs),
            golden_outputs=str(outputs),
            golden_framework=draft.golden_framework,
        )
        with the_models_fault():
            return wall.check(request)

    return models.publish(
        draft,
        artifact=artifact,
        golden_inputs=inputs,
        golden_outputs=outputs,
        files=files,
        check=check,
        sign_key=sign_key,
    )


@contextmanager
def the_models_fault() -> Iterator[None]:
    """Refuse a model that the wall cannot load: this machine is the first to try it."""
    try:
        yield
    except ModelWallError as exc:
        raise ModelRefusedError(
            f"{exc}, and so it would in every worker; make it smaller, then publish it again"
        ) from exc


def outputs_of(model: Any, items: Rows, *, takes: Sequence[InputTensor], tile_items: int) -> Rows:
    """What a Keras model gives for `items`, in the dtypes in which outputs are stored.

    Raises:
        ModelRefusedError: It does not take such items, or an output has no row for each.
    """
    predict = compile_predict(model, tile_items=tile_items, takes=_of_shapes(takes, items))
    return predict_items(predict, items, tile_items=tile_items)


def golden_outputs(
    model: Any,
    inputs: Rows,
    *,
    takes: Sequence[InputTensor],
    where: str,
    allow_nan: bool = False,
) -> Rows:
    """The outputs of a golden batch.

    Raises:
        ModelRefusedError: As `outputs_of`; or it fails on them, or gives NaN or infinity where that
            is not allowed.
    """
    work = estimate(model, takes=_of_shapes(takes, inputs))
    try:
        outputs = outputs_of(model, inputs, takes=takes, tile_items=trial_tile(work))
    except PredictionError as exc:
        raise ModelRefusedError(
            f"{where} fails on its golden batch ({error_line(exc.__cause__ or exc)}); give typical "
            "items as the golden batch"
        ) from exc
    if not allow_nan and any(non_finite_rows(array) for array in outputs.arrays):
        raise ModelRefusedError(
            f"{where} gives NaN or infinity for its golden batch; give typical items as the "
            "golden batch, train it again, or allow NaN in its outputs"
        )
    return outputs


def made_up_count(model: Any, takes: Sequence[InputTensor]) -> int:
    """The number of generated items: fewer if predicting one takes long, or it is large.

    Args:
        model: A Keras model.
        takes: Its inputs, with the sizes that the items will have.
    """
    work = estimate(model, takes=takes)
    numbers = sum(math.prod(tensor.fixed_shape) for tensor in takes)
    fitting = _MOST_GOLDEN_NUMBERS // max(1, numbers)
    return min(GOLDEN_ITEMS, max(_LEAST_GOLDEN_ITEMS, work.golden_items(1)), max(1, fitting))


def _of_shapes(takes: Sequence[InputTensor], items: Rows) -> list[InputTensor]:
    """The inputs, with the sizes that the items have."""
    return [
        tensor.model_copy(update={"shape": list(shape)})
        for tensor, shape in zip(takes, items.shapes, strict=True)
    ]


def packages() -> dict[str, str]:
    """Versions of the packages that make an artifact and its golden outputs, by name."""
    backend, backend_is = backend_version()
    return {
        "fornada": fornada.__version__,
        "keras": import_keras().__version__,
        "numpy": np.__version__,
        backend: backend_is,
    }
