"""Custom recipes, by module and function."""

import dataclasses
import sys
from pathlib import Path

import pytest

from fornada.errors import ModelRefusedError, UsageError
from fornada.storage.memory import InMemoryObjectStore
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from trainer import job
from trainer.data.catalog import load_dataset
from trainer.data.dataset import Dataset
from trainer.recipes.custom import is_custom
from trainer.recipes.plan import TrainingPlan

from ....walls import no_wall

_MODULE = """
import keras

number = 3


def network(item_shape, output_count, last="softmax"):
    return keras.Sequential([
        keras.Input(item_shape, dtype="uint8"),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Flatten(),
        keras.layers.Dense(output_count, last),
    ])


def compiled(item_shape, classes):
    model = network(item_shape, len(classes))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def sigmoid(item_shape):
    return network(item_shape, 1, last="sigmoid")


def logits(item_shape):
    return network(item_shape, 1, last=None)


def raises():
    raise RuntimeError("my mistake")


def wants(height):
    return network((height, height), 10)


def text():
    return "a model"


def no_input():
    return keras.Sequential([keras.layers.Dense(10)])


def other_items(output_count):
    return network((9, 9), output_count)


def fewer_outputs(item_shape):
    return network(item_shape, 3)


def with_code(item_shape, output_count):
    model = network(item_shape, output_count)
    model.add(keras.layers.Lambda(lambda x: x))
    return model
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the working directory."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def _train(recipe: str, *, dataset: Dataset | None = None, **plan: object) -> ModelManifest:
    return job.train(
        dataset or load_dataset("digits"),
        name="m",
        models=ModelStore(objects=InMemoryObjectStore(), open_wall=no_wall),
        plan=TrainingPlan(recipe=recipe, epochs=1, **plan),  # type: ignore[arg-type]
    )


def test_a_compiled_model_is_trained_as_it_is(own: str) -> None:
    manifest = _train(f"{own}:compiled")

    assert manifest.training is not None
    assert {"epochs", "batch_size", "validation_split"} == manifest.training.parameters.keys()
    assert "test_accuracy" in manifest.metrics


@pytest.mark.slow
def test_two_classes_end_in_one_sigmoid_or_in_a_softmax_of_two(own: str) -> None:
    digits = load_dataset("digits")
    of_two = dataclasses.replace(
        digits,
        kind="binary",
        classes=["even", "odd"],
        train_targets=digits.train_targets % 2,
        test_targets=digits.test_targets % 2,
    )

    for function, kind, threshold, loss in (
        ("sigmoid", "binary", 0.5, "binary_crossentropy"),
        ("network", "probabilities", None, "sparse_categorical_crossentropy"),
    ):
        manifest = _train(f"{own}:{function}", dataset=of_two)

        assert (kind, threshold, ["even", "odd"]) == (
            manifest.output.kind,
            manifest.output.threshold,
            manifest.output.classes,
        )
        assert loss == (manifest.training and manifest.training.parameters["loss"])
        assert "test_accuracy" in manifest.metrics
    with pytest.raises(ModelRefusedError, match="ends in the activation linear"):
        _train(f"{own}:logits", dataset=of_two)


def test_a_mistake_in_a_custom_recipe_is_reported_as_the_callers(own: str) -> None:
    for function, fact in (
        ("raises", "failed (RuntimeError: my mistake)"),
        ("wants", "needs height; it may take classes, item_dtype, item_shape, output_count"),
        ("text", "returned a str; return a keras.Model"),
        ("no_input", "without an input; start with keras.Input"),
        ("number", "is of type int; name a function"),
        ("nothing", "cannot be imported (AttributeError"),
    ):
        with pytest.raises(UsageError) as error:
            _train(f"{own}:{function}")

        assert f"{own}:{function}" in str(error.value)
        assert fact in str(error.value)


def test_a_missing_module_is_reported(own: str) -> None:
    with pytest.raises(UsageError, match=r"ModuleNotFoundError.*package\.module:function"):
        _train("no.such.module:network")


def test_a_plan_does_not_compile_what_is_compiled(own: str) -> None:
    with pytest.raises(UsageError, match="compiles its model, but loss was given too"):
        _train(f"{own}:compiled", loss="mse")


def test_a_model_that_no_worker_would_load_is_refused_before_training(own: str) -> None:
    for function, fact in (
        ("other_items", "does not take uint8"),
        ("fewer_outputs", "has 3 outputs, but digits needs 10"),
        ("with_code", "uses keras.layers.Lambda"),
    ):
        with pytest.raises(ModelRefusedError, match=fact):
            _train(f"{own}:{function}", batch_size=1)


def test_a_colon_tells_a_function_from_a_name() -> None:
    assert [False, False, True] == [is_custom(name) for name in ("mlp", None, "package.module:f")]
