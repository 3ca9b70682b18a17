"""Every data set goes through the training job with its recipe, from its file to a version."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fornada.storage.memory import InMemoryObjectStore
from model_store.engines import golden, keras_file, keras_predict
from model_store.store import ModelStore
from trainer import job
from trainer.data.catalog import DATASET_NAMES, load_dataset
from trainer.data.dataset import Dataset
from trainer.recipes.plan import TrainingPlan

from ..keras_files import MAKERS

_ITEMS = 60


def _some(dataset: Dataset) -> Dataset:
    """A few training items, evenly spread."""
    chosen = np.linspace(0, len(dataset.train_items) - 1, _ITEMS).astype(int)
    return dataclasses.replace(
        dataset,
        train_items=dataset.train_items[chosen],
        train_targets=dataset.train_targets[chosen],
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", DATASET_NAMES)
def test_a_data_set_becomes_a_version_with_its_items_and_outputs(
    put_small: Callable[[str], Path], request: pytest.FixtureRequest, name: str
) -> None:
    # given
    if name in MAKERS:
        put_small(name)
    elif name == "fashion_mnist":
        request.getfixturevalue("sample")
    dataset = _some(load_dataset(name))
    models = ModelStore(objects=InMemoryObjectStore())

    # when
    manifest = job.train(dataset, name="m", models=models, plan=TrainingPlan(epochs=1))

    # then
    assert (list(dataset.item_shape), dataset.item_dtype, dataset.task, dataset.classes) == (
        manifest.item_shape,
        manifest.item_dtype,
        manifest.task,
        manifest.classes,
    )
    assert manifest.training is not None
    assert (name, _ITEMS) == (manifest.training.dataset, manifest.training.item_count)
    metric = "accuracy" if dataset.task == "classification" else "mean_absolute_error"
    assert {metric, f"test_{metric}", f"val_{metric}"} < set(manifest.metrics)
    assert "report.html" in manifest.files
    # and the artifact gives what Keras gives
    model = keras_file.load_model(models.fetch(manifest.artifact), where="the artifact")
    predict = keras_predict.compile_predict(
        model, tile_items=8, item_shape=dataset.item_shape, item_dtype=dataset.item_dtype
    )
    items = dataset.test_items[:20]
    np.testing.assert_allclose(
        golden.predict_items(predict, items, tile_items=8),
        model.predict(items, verbose=0),
        rtol=0,
        atol=1e-5,
    )
