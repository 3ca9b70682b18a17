"""Train for real on handwritten digits, and publish the result."""

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
from fornada.figures.predictions import predicted_by
from fornada.figures.reference import Reference
from fornada.formats.npy import from_npy
from fornada.records import sha256_hex
from fornada.storage.interface import ObjectInfo
from fornada.storage.memory import InMemoryObjectStore
from model_store.engines import keras_file, keras_setup
from model_store.gates import Gate
from model_store.manifest import ModelManifest
from model_store.publishing import fitted
from model_store.store import ModelStore
from trainer import job
from trainer.data.catalog import load_dataset
from trainer.data.dataset import Dataset
from trainer.evaluation.acceptance import Acceptance
from trainer.recipes.catalog import RECIPES
from trainer.recipes.plan import TrainingPlan

from ...arrays import compile_predict, predict_items
from ...walls import no_wall

_PLAN = TrainingPlan(epochs=2, batch_size=64)
_ONE_EPOCH = TrainingPlan(epochs=1, batch_size=256)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Published:
    """A model that was trained and promoted, and what was reported meanwhile."""

    models: ModelStore
    manifest: ModelManifest
    epochs: list[tuple[int, int, Mapping[str, float]]]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def published(digits: Dataset) -> _Published:
    models = ModelStore(objects=InMemoryObjectStore(), open_wall=no_wall)
    epochs: list[tuple[int, int, Mapping[str, float]]] = []
    manifest = job.train(
        digits,
        name="digits",
        models=models,
        plan=_PLAN,
        promote="prod",
        on_epoch=lambda *epoch: epochs.append(epoch),
    )
    return _Published(models=models, manifest=manifest, epochs=epochs)


@pytest.fixture
def models() -> ModelStore:
    return ModelStore(objects=InMemoryObjectStore(), open_wall=no_wall)


def test_a_published_version_predicts_as_measured(digits: Dataset, published: _Published) -> None:
    manifest, models = published.manifest, published.models

    artifact = models.fetch(manifest.artifact)
    model = keras_file.load_model(artifact, where="the artifact")
    predict = compile_predict(model, tile_items=64, item_shape=(8, 8), item_dtype="uint8")
    found = predict_items(predict, digits.test_items, tile_items=64)

    assert sha256_hex(artifact) == manifest.digest
    np.testing.assert_allclose(found, model.predict(digits.test_items, verbose=0), atol=1e-5)
    expected = predicted_by(found, manifest.output)
    assert expected is not None
    stored = models.fetch(manifest.files["reference.json"])
    reference = Reference.from_json(stored, where="it").predicted[manifest.output.name]
    assert expected.classes == reference.classes
    assert expected.confidence_sum == pytest.approx(reference.confidence_sum, abs=0.01)
    accuracy = float((found.argmax(axis=1) == digits.test_targets).mean())
    assert pytest.approx(accuracy, abs=0.01) == manifest.metrics["test_accuracy"]
    assert accuracy > 0.6


def test_the_manifest_says_what_the_model_takes_and_how_it_was_trained(
    digits: Dataset, published: _Published
) -> None:
    manifest = published.manifest

    assert manifest == published.models.resolve("digits@prod")
    assert ([8, 8], "uint8", digits.classes) == (
        manifest.input.shape,
        manifest.input.dtype,
        manifest.output.columns,
    )
    names = {
        f"{split}{metric}" for split in ("", "val_", "test_") for metric in ("loss", "accuracy")
    }
    assert names == set(manifest.metrics)
    assert {"fornada", "keras", "numpy", "tensorflow"} == set(manifest.packages)
    training = manifest.training
    assert training is not None
    assert ("digits", "mlp", 0, 1437, digits.train_sha256, None) == (
        training.dataset,
        training.recipe,
        training.seed,
        training.item_count,
        training.data_sha256,
        training.not_reproducible_because,
    )
    assert _PLAN.filled(RECIPES["mlp"], "probabilities").parameters() == training.parameters


def test_history_report_and_golden_batch_are_stored_with_the_model(
    digits: Dataset, published: _Published
) -> None:
    manifest, models = published.manifest, published.models

    history = json.loads(models.fetch(manifest.files["history.json"]))
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} == history.keys()
    assert [(1, 2), (2, 2)] == [epoch[:2] for epoch in published.epochs]
    assert history["val_loss"] == [epoch[2]["val_loss"] for epoch in published.epochs]
    assert b"learned from digits by the recipe mlp" in models.fetch(manifest.files["report.html"])
    figures = [name for name in manifest.files if name.endswith(".png")]
    assert figures
    assert all(models.fetch(manifest.files[name]).startswith(b"\x89PNG") for name in figures)
    inputs = from_npy(models.fetch(manifest.golden.inputs), where="inputs")
    np.testing.assert_array_equal(digits.test_items[:32], inputs)
    assert (32, 10) == from_npy(models.fetch(manifest.golden.outputs), where="outputs").shape


def test_labels_and_values_are_named_with_their_kind(models: ModelStore) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4)).astype(np.float32)
    labels, values = (features[:, :3] > 0).astype(np.int64), features[:, :2] * 3
    for kind, targets, threshold, section in (
        ("multilabel", labels, 0.5, b"Results by label"),
        ("values", values, None, b"Errors by value"),
    ):
        classes = [f"{kind}-{number}" for number in range(targets.shape[1])]
        dataset = Dataset(
            name="features",
            kind=kind,  # type: ignore[arg-type]  # one of them
            train_items=features,
            train_targets=targets,
            test_items=features,
            test_targets=targets,
            classes=classes,
        )

        manifest = job.train(dataset, name=kind, models=models, plan=TrainingPlan(epochs=3))

        assert ("features", "float32", None) == (
            manifest.input.name,
            manifest.input.dtype,
            manifest.input.image,
        )
        assert (kind, classes, threshold) == (
            manifest.output.kind,
            manifest.output.classes,
            manifest.output.threshold,
        )
        assert section in models.fetch(manifest.files["report.html"])


def test_the_same_training_gives_the_same_bytes(
    digits: Dataset, published: _Published, models: ModelStore
) -> None:
    again = job.train(digits, name="digits", models=models, plan=_PLAN)

    assert published.manifest.digest == again.digest


def test_without_a_validation_split_there_are_no_validation_metrics(
    digits: Dataset, models: ModelStore, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    plan = dataclasses.replace(_ONE_EPOCH, validation_split=0.0)

    manifest = job.train(digits, name="m", models=models, plan=plan, checkpoint=folder)

    assert {"loss", "accuracy", "test_loss", "test_accuracy"} == set(manifest.metrics)
    # and the checkpoint is gone with the training
    assert [] == list(folder.iterdir())


def test_an_artifact_with_other_outputs_leaves_no_version(
    digits: Dataset, models: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an artifact of another model than the trained one
    def save_another(model: object, path: Path) -> None:
        keras = keras_setup.import_keras()
        keras.utils.set_random_seed(99)
        keras_file.save_model(keras.models.clone_model(model), path)

    monkeypatch.setattr(fitted, "save_model", save_another)

    # when
    with pytest.raises(ModelRefusedError, match=r"differs by .* from the outputs of its golden"):
        job.train(digits, name="m", models=models, plan=_ONE_EPOCH, promote="prod")

    # then
    assert [] == models.names()
    assert {} == models.aliases("m")


def test_a_store_that_does_not_answer_fails_before_training(digits: Dataset) -> None:
    class Away(InMemoryObjectStore):
        """A store that cannot be reached."""

        def list(self, prefix: str, *, bucket: str | None = None) -> list[ObjectInfo]:  # type: ignore[override]  # never returns
            raise StoreUnavailableError("away")

    epochs: list[int] = []

    with pytest.raises(StoreUnavailableError):
        job.train(
            digits,
            name="m",
            models=ModelStore(objects=Away()),
            plan=_PLAN,
            on_epoch=lambda epoch, *_: epochs.append(epoch),
        )

    assert [] == epochs


def test_a_wrong_name_fails_before_training(digits: Dataset, models: ModelStore) -> None:
    for name, alias, recipe, fact in (
        ("a/b", None, "mlp", "model name 'a/b'"),
        ("m", "@", "mlp", "alias '@'"),
        ("m", None, "gpt", "there is no recipe 'gpt'; choose from: mlp"),
    ):
        plan = TrainingPlan(recipe=recipe)
        with pytest.raises(UsageError, match=fact):
            job.train(digits, name=name, promote=alias, models=models, plan=plan)


def test_a_model_that_diverges_or_misses_its_gate_is_not_published(
    digits: Dataset, models: ModelStore
) -> None:
    diverging = dataclasses.replace(_ONE_EPOCH, learning_rate=1e38)
    gated = Acceptance(gates=[Gate.parse("test_accuracy>=1")])

    with pytest.raises(ModelError, match=r"training diverged: .*loss.* lower the learning rate"):
        job.train(digits, name="m", models=models, plan=diverging)
    with pytest.raises(GateNotMetError, match="the new m is not published"):
        job.train(digits, name="m", models=models, plan=_ONE_EPOCH, acceptance=gated)

    assert [] == models.names()
