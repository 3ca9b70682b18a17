"""Models of one input and one output, called with arrays in place of `Rows`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fornada.formats.rows import Rows
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from fornada.tensors import InputTensor, OutputTensor, manifest_fields
from model_store.engines import golden, keras_predict
from model_store.engines.interface import Predict

PredictArray = Callable[[np.ndarray], np.ndarray]


def taking(item_shape: Sequence[int | None], item_dtype: Any = "float32") -> list[InputTensor]:
    """The only input of a model."""
    return [InputTensor(name="items", dtype=item_dtype, shape=list(item_shape))]


def giving(width: int = 1) -> list[OutputTensor]:
    """The only output of a model, a vector."""
    return [OutputTensor(name="outputs", shape=[width], kind="values")]


def on_arrays(predict: Predict) -> PredictArray:
    """A predict call of one input and one output."""
    return lambda array: predict(Rows(array)).only


def on_rows(predict: PredictArray) -> Predict:
    """The opposite of `on_arrays`."""
    return lambda rows: Rows(predict(rows.only))


def predict_items(predict: PredictArray, items: np.ndarray, *, tile_items: int) -> np.ndarray:
    """As `golden.predict_items`."""
    return golden.predict_items(on_rows(predict), Rows(items), tile_items=tile_items).only


def fields_of_one(version: int, taken: InputTensor, given: OutputTensor) -> dict[str, Any]:
    """The tensors of a job's manifest."""
    return manifest_fields(version, [taken], [given])


def stored_rows(jobs: JobStore, outcome: ShardOutcome) -> np.ndarray:
    """The only output of a shard, as it was committed."""
    (column,) = jobs.outputs(outcome, jobs.manifest(outcome.job_id).gives)
    return np.asarray(column)


def outputs_of_model(model: Any) -> list[OutputTensor]:
    """The only output of a Keras model, in float32."""
    shape = list(model.output_shape[1:])
    kind = "tensor" if len(shape) > 1 or None in shape else "values"
    return [OutputTensor(name="outputs", shape=shape, kind=kind)]


def compile_predict(
    model: Any,
    *,
    tile_items: int,
    item_shape: Sequence[int | None],
    item_dtype: Any,
    **options: Any,
) -> PredictArray:
    """As `keras_predict.compile_predict`."""
    return on_arrays(
        keras_predict.compile_predict(
            model,
            tile_items=tile_items,
            takes=taking(item_shape, item_dtype),
            gives=outputs_of_model(model),
            **options,
        )
    )
