"""Train for real on the sample, and publish what was learnt."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from fornada.errors import (
    GateNotMetError,
    ModelError,
    ModelRefusedError,
    StoreUnavailableError,
    UsageError,
)
from fornada.formats.npy import from_npy
from fornada.records import sha256_hex
from fornada.storage.interface import ObjectInfo
from fornada.storage.memory import InMemoryObjectStore
from model_store.engines import golden, keras_file, keras_predict, keras_setup
from model_store.gates import Gate
from model_store.store import ModelStore
from trainer import job
from trainer.data.catalog import load_dataset
from trainer.data.dataset import Dataset
from trainer.evaluation.acceptance import Acceptance
from trainer.recipes.plan import TrainingPlan

_PLAN = TrainingPlan(epochs=2, batch_size=16)


@pytest.fixture
def models() -> ModelStore:
    return ModelStore(objects=InMemoryObjectStore())


@pytest.fixture
def fashion(sample: Path) -> Dataset:
    return load_dataset("fashion_mnist")


def test_training_publishes_a_version_that_predicts_as_measured(
    fashion: Dataset, models: ModelStore
) -> None:
    epochs: list[tuple[int, Mapping[str, float]]] = []

    manifest = job.train(
        fashion,
        name="fashion-mnist",
        models=models,
        plan=_PLAN,
        promote="prod",
        on_epoch=lambda epoch, _epochs, metrics: epochs.append((epoch, metrics)),
    )

    assert manifest == models.resolve("fashion-mnist@prod")
    assert ([28, 28], "uint8") == (manifest.item_shape, manifest.item_dtype)
    assert fashion.classes == manifest.classes
    assert [1, 2] == [epoch for epoch, _ in epochs]
    names = {
        f"{split}{metric}" for split in ("", "val_", "test_") for metric in ("loss", "accuracy")
    }
    assert names == set(manifest.metrics)
    model = keras_file.load_model(models.fetch(manifest.artifact), where="the artifact")
    predict = keras_predict.compile_predict(
        model, tile_items=64, item_shape=(28, 28), item_dtype="uint8"
    )
    found = golden.predict_items(predict, fashion.test_items, tile_items=64)
    accuracy = float((found.argmax(axis=1) == fashion.test_targets).mean())
    assert pytest.approx(accuracy, abs=0.01) == manifest.metrics["test_accuracy"]
    assert accuracy > 0.4


def test_the_manifest_has_enough_to_do_it_again(fashion: Dataset, models: ModelStore) -> None:
    first = job.train(fashion, name="m", models=models, plan=_PLAN)
    second = job.train(fashion, name="m", models=models, plan=_PLAN)
    other = job.train(fashion, name="m", models=models, plan=dataclasses.replace(_PLAN, seed=1))

    assert first.digest == second.digest
    assert first.digest != other.digest
    training = first.training
    assert training is not None
    assert ("fashion_mnist", "mlp", 0, 480) == (
        training.dataset,
        training.recipe,
        training.seed,
        training.item_count,
    )
    assert fashion.train_sha256 == training.data_sha256
    assert {
        "epochs": 2,
        "batch_size": 16,
        "validation_split": 0.2,
        "optimizer": "adam",
        "learning_rate": 0.001,
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
    } == training.parameters
    assert training.not_reproducible_because is None
    assert {"fornada", "keras", "numpy", "tensorflow"} == set(first.packages)


def test_history_report_and_golden_batch_lie_beside_the_model(
    fashion: Dataset, models: ModelStore
) -> None:
    manifest = job.train(fashion, name="m", models=models, plan=_PLAN)

    history = json.loads(models.fetch(manifest.files["history.json"]))
    assert {"loss": 2, "accuracy": 2, "val_loss": 2, "val_accuracy": 2} == {
        curve: len(values) for curve, values in history.items()
    }
    assert b"fashion_mnist" in models.fetch(manifest.files["report.html"])
    pictures = [name for name in manifest.files if name.endswith(".png")]
    assert pictures
    assert all(models.fetch(manifest.files[name]).startswith(b"\x89PNG") for name in pictures)
    inputs = from_npy(models.fetch(manifest.golden.inputs), where="inputs")
    np.testing.assert_array_equal(fashion.test_items[:32], inputs)
    outputs = from_npy(models.fetch(manifest.golden.outputs), where="outputs")
    assert (32, 10) == outputs.shape


def test_without_a_validation_split_there_are_no_validation_metrics(models: ModelStore) -> None:
    plan = TrainingPlan(epochs=1, batch_size=256, validation_split=0.0)

    manifest = job.train(load_dataset("digits"), name="digits", models=models, plan=plan)

    assert {"loss", "accuracy", "test_loss", "test_accuracy"} == set(manifest.metrics)
    assert [8, 8] == manifest.item_shape


def test_an_artifact_that_predicts_otherwise_leaves_no_version(
    fashion: Dataset, models: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a store of bytes in which another model lies than the one that was trained
    def dump_another(model: object) -> bytes:
        keras = keras_setup.import_keras()
        keras.utils.set_random_seed(99)
        return keras_file.dump_model(keras.models.clone_model(model))

    monkeypatch.setattr(job, "dump_model", dump_another)

    # when
    with pytest.raises(ModelRefusedError, match=r"differs by .* from the outputs of its golden"):
        job.train(fashion, name="m", models=models, plan=_PLAN, promote="prod")

    # then
    assert [] == models.names()
    assert {} == models.aliases("m")


def test_a_training_that_diverges_is_told_and_publishes_nothing(
    fashion: Dataset, models: ModelStore
) -> None:
    plan = dataclasses.replace(_PLAN, learning_rate=1e38)

    with pytest.raises(ModelError, match=r"training diverged: .*loss.* lower the learning rate"):
        job.train(fashion, name="m", models=models, plan=plan)

    assert [] == models.names()


def test_a_store_that_does_not_answer_ends_before_training(sample: Path) -> None:
    class Away(InMemoryObjectStore):
        """A store that cannot be reached."""

        def list(self, prefix: str, *, bucket: str | None = None) -> list[ObjectInfo]:  # type: ignore[override]  # never returns
            raise StoreUnavailableError("away")

    epochs: list[int] = []

    with pytest.raises(StoreUnavailableError):
        job.train(
            load_dataset("fashion_mnist"),
            name="m",
            models=ModelStore(objects=Away()),
            plan=_PLAN,
            on_epoch=lambda epoch, *_: epochs.append(epoch),
        )

    assert [] == epochs


@pytest.mark.parametrize(
    ("names", "recipe", "fact"),
    [
        ({"name": "a/b"}, "mlp", "model name 'a/b'"),
        ({"name": "m", "promote": "@"}, "mlp", "alias '@'"),
        ({"name": "m"}, "gpt", "no recipe is called 'gpt'; there are: mlp"),
    ],
)
def test_a_wrong_name_ends_before_training(
    models: ModelStore, names: dict[str, str], recipe: str, fact: str
) -> None:
    with pytest.raises(UsageError, match=fact):
        job.train(load_dataset("digits"), models=models, plan=TrainingPlan(recipe=recipe), **names)


def test_the_digest_of_the_artifact_is_that_of_its_bytes(models: ModelStore) -> None:
    manifest = job.train(
        load_dataset("digits"),
        name="digits",
        models=models,
        plan=TrainingPlan(epochs=1, batch_size=256),
    )

    assert sha256_hex(models.fetch(manifest.artifact)) == manifest.digest


def test_what_is_not_good_enough_is_not_published(models: ModelStore) -> None:
    plan = TrainingPlan(epochs=1, batch_size=256)
    acceptance = Acceptance(gates=[Gate.parse("test_accuracy>=1")])

    with pytest.raises(GateNotMetError, match="the new m is not published"):
        job.train(load_dataset("digits"), name="m", models=models, plan=plan, acceptance=acceptance)

    assert [] == models.names()


def test_the_published_weights_are_those_of_the_best_epoch(
    models: ModelStore, fashion: Dataset
) -> None:
    plan = TrainingPlan(epochs=12, batch_size=8, learning_rate=0.02, keep_best=True)

    manifest = job.train(fashion, name="m", models=models, plan=plan)

    history = json.loads(models.fetch(manifest.files["history.json"]))
    assert min(history["val_loss"]) < history["val_loss"][-1]
    assert min(history["val_loss"]) == manifest.metrics["val_loss"]


def test_a_checkpoint_is_gone_when_its_model_is_published(
    models: ModelStore, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    plan = TrainingPlan(epochs=1, batch_size=256)

    job.train(load_dataset("digits"), name="m", models=models, plan=plan, checkpoint=folder)

    assert [] == list(folder.iterdir())
