"""Publish models for tests that need no ML framework: for workers with FORNADA_ENGINE=test."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from fornada.formats.rows import Rows
from fornada.records import Task
from fornada.settings import MAX_BATCH_SIZE
from fornada.tensors import Dtype, ImagePreprocessing, unnamed_tensors
from model_store.engines.arithmetic import ArithmeticModel, arithmetic
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from model_store.wall.messages import CallCost, Passed

_GOLDEN_ITEMS = 4
#: What the wall says of a model whose calls take nothing, whatever their rows.
PASSED = Passed(
    engine="this process",
    peak_bytes=0,
    calls=[CallCost(tile_items=MAX_BATCH_SIZE, peak_bytes=0, duration_s=0.0)],
)


def draft_for_test(
    *,
    name: str = "m",
    item_shape: Sequence[int],
    item_dtype: Dtype = "uint8",
    classes: Sequence[str],
    task: Task = "classification",
    image: ImagePreprocessing | None = None,
    **facts: Any,
) -> ModelDraft:
    """A model that takes such items and gives one number per class."""
    taken, given = unnamed_tensors(
        item_shape=item_shape, item_dtype=item_dtype, classes=classes, task=task
    )
    if image is not None:
        taken = taken.model_copy(update={"image": image})
    return ModelDraft.of_one(taken, given, name=name, **facts)


def publish_for_test(
    models: ModelStore,
    *,
    name: str = "m",
    item_shape: Sequence[int],
    item_dtype: Dtype = "uint8",
    classes: Sequence[str],
    seed: int = 0,
    delay_s: float = 0.0,
    fails_on: int | None = None,
    nan_on: int | None = None,
    image: ImagePreprocessing | None = None,
) -> Callable[[Array], NDArray[np.float32]]:
    """Publish a model that takes such items and gives one number per class.

    Args:
        models: Where to publish.
        name: The model's name.
        item_shape: Shape of one item.
        item_dtype: dtype of the items.
        classes: Names of the outputs.
        seed: Different seeds give different weights.
        delay_s: What every predict call takes, at least.
        fails_on: A predict call fails if an item in it begins with this number; not 1, with which
            the golden items begin, and better not 0, with which tiles are padded.
        nan_on: Items that begin with this number get NaN; not 1.
        image: How image files become items; by default they have the items' size.

    Returns:
        What the model predicts for any number of items, byte for byte as a worker does.
    """
    draft = draft_for_test(
        name=name, item_shape=item_shape, item_dtype=item_dtype, classes=classes, image=image
    )
    model = ArithmeticModel(
        output_count=len(classes), seed=seed, delay_s=delay_s, fails_on=fails_on, nan_on=nan_on
    )
    undisturbed = model.model_copy(update={"delay_s": 0.0, "fails_on": None})
    compile_for = arithmetic(undisturbed, draft.inputs, draft.outputs).compile

    def predict(items: Array) -> NDArray[np.float32]:
        return np.asarray(compile_for(len(items))(Rows(items)).only, np.float32)

    golden = np.random.default_rng(seed).integers(0, 2, (_GOLDEN_ITEMS, *item_shape))
    golden.reshape(_GOLDEN_ITEMS, -1)[:, 0] = 1
    inputs = golden.astype(item_dtype)
    models.publish(
        draft,
        artifact=model.to_json(),
        golden_inputs=inputs,
        golden_outputs=predict(inputs),
        check=lambda _artifact: None,
    )
    return predict
