"""Each data set has a recipe that fits it, learns, and predicts alike in every engine."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.errors import UsageError
from fornada.formats.items import Array
from model_store.engines import keras_file
from model_store.engines.keras_predict import as_fed
from trainer.data.catalog import load_dataset
from trainer.data.dataset import Dataset
from trainer.recipes.catalog import RECIPES, build_model, default_recipe
from trainer.recipes.plan import TrainingPlan, compile_model

from ....arrays import compile_predict, predict_items
from ..keras_files import MAKERS

_ROOT = Path(__file__).parents[4]
_TILE_ITEMS = 16
#: Those of numbers in one array; `tests/e2e/test_trained_tables.py` has the others.
_RECIPES = [name for name in RECIPES if name not in {"table", "table_regression", "texts"}]


def _dataset(items: Any, *, outputs: int, kind: Any = "probabilities") -> Dataset:
    rng = np.random.default_rng(1)
    targets: Any = rng.integers(0, outputs, len(items))
    if kind == "values":
        targets = rng.normal(22, 9, len(items)).astype(np.float32)
    return Dataset(
        name="made-up",
        kind=kind,
        train_items=items,
        train_targets=targets,
        test_items=items,
        test_targets=targets,
        classes=[str(number) for number in range(outputs)],
    )


def _made_up(recipe: str) -> Dataset:
    """A few items of the kind that a recipe takes."""
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(24, 13)) * np.logspace(-1, 3, 13)).astype(np.float32)
    if recipe == "mlp":
        return _dataset(rng.integers(0, 256, (24, 28, 28), np.uint8), outputs=10)
    if recipe == "photos":
        return _dataset(rng.integers(0, 256, (24, 70, 90, 3), np.uint8), outputs=3)
    if recipe == "cnn":
        return _dataset(rng.integers(0, 256, (24, 32, 32, 3), np.uint8), outputs=10)
    if recipe in {"sentiment", "topics"}:
        # Some are outside the vocabulary, on both sides.
        tokens = rng.integers(-9, 12_000, (24, 256), np.int32)
        of_two = {"outputs": 2, "kind": "binary"}
        return _dataset(tokens, **(of_two if recipe == "sentiment" else {"outputs": 4}))
    if recipe == "vectors":
        return _dataset(features, outputs=3)
    assert "regression" == recipe
    return _dataset(features, outputs=1, kind="values")


def _trained(
    recipe: str, dataset: Dataset, *, seed: int = 0, epochs: int = 1, eagerly: bool = False
) -> Any:
    chosen = RECIPES[recipe]
    model = build_model(chosen, dataset, seed=seed)
    compile_model(model, TrainingPlan().filled(chosen, dataset.kind))
    model.run_eagerly = eagerly
    model.fit(
        dataset.train_items,
        dataset.train_targets,
        epochs=epochs,
        batch_size=chosen.batch_size,
        verbose=0,
    )
    return model


def _outputs(model: Any, items: Array) -> Array:
    predict = compile_predict(
        model, tile_items=_TILE_ITEMS, item_shape=items.shape[1:], item_dtype=str(items.dtype)
    )
    return predict_items(predict, items, tile_items=_TILE_ITEMS)


@pytest.fixture(scope="module")
def trained() -> dict[str, tuple[Dataset, Any]]:
    """A data set and the model trained on it, by recipe."""
    datasets = {recipe: _made_up(recipe) for recipe in _RECIPES}
    # One step of each, which takes less time than to trace a graph for it.
    return {
        recipe: (dataset, _trained(recipe, dataset, eagerly=True))
        for recipe, dataset in datasets.items()
    }


def test_each_data_set_has_a_recipe_that_takes_it(put_small: Callable[[str], Path]) -> None:
    for name, recipe in (
        ("boston_housing", "regression"),
        ("cifar10", "cnn"),
        ("cifar100", "cnn"),
        ("imdb", "sentiment"),
        ("mnist", "mlp"),
        ("reuters", "topics"),
        ("digits", "mlp"),
    ):
        if name in MAKERS:
            put_small(name)
        dataset = load_dataset(name)

        chosen = default_recipe(dataset)
        model = build_model(chosen, dataset, seed=0)

        assert recipe == chosen.name
        assert (None, *dataset.item_shape) == model.input_shape
        assert (None, 1 if name == "imdb" else len(dataset.classes)) == model.output_shape


@pytest.mark.slow
def test_texts_are_learned_from_telling_words(put_small: Callable[[str], Path]) -> None:
    for name, epochs in (("imdb", 20), ("reuters", 60)):
        put_small(name)
        dataset = load_dataset(name)

        model = _trained(default_recipe(dataset).name, dataset, epochs=epochs)

        outputs = _outputs(model, dataset.train_items)
        found = outputs[:, 0] > 0.5 if name == "imdb" else outputs.argmax(axis=1)
        assert 0.7 < float((found == dataset.train_targets).mean()), name


@pytest.mark.slow
def test_prices_are_learned_from_raw_features(put_small: Callable[[str], Path]) -> None:
    put_small("boston_housing")
    dataset = load_dataset("boston_housing")

    model = _trained("regression", dataset, epochs=60)

    errors = np.abs(_outputs(model, dataset.test_items)[:, 0] - dataset.test_targets)
    spread = np.abs(dataset.test_targets - dataset.train_targets.mean())
    assert errors.mean() < spread.mean() / 2


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    for recipe in _RECIPES:
        dataset = _made_up(recipe)

        first, again, other = (
            keras_file.dump_model(_trained(recipe, dataset, seed=seed)) for seed in (3, 3, 4)
        )

        assert first == again, recipe
        assert first != other, recipe


@pytest.mark.slow
def test_salaries_of_a_table_are_learned_as_soon_as_shares() -> None:
    # given columns with names of layers
    rng = np.random.default_rng(0)
    years, level = rng.uniform(0, 40, 400), rng.choice([b"a", b"b"], 400)
    columns = {
        "hidden1": years.astype(np.float32)[:, None],
        "values": level.astype(object)[:, None],
    }
    salaries = (30_000 + 1500 * years + 20_000 * (level == b"a")).astype(np.float32)
    for targets in (salaries, salaries / 100_000):
        dataset = Dataset(
            name="made-up",
            kind="values",
            train_items=columns,
            train_targets=targets,
            test_items=columns,
            test_targets=targets,
            classes=["salary"],
        )

        model = build_model(default_recipe(dataset), dataset, seed=0)
        compile_model(model, TrainingPlan().filled(RECIPES["table_regression"], "values"))
        fed = as_fed(columns)
        model.fit(fed, targets, epochs=20, batch_size=32, verbose=0)

        errors = np.abs(model.predict(fed, verbose=0)[:, 0] - targets)
        assert float(errors.mean()) < targets.std() / 10


def test_every_recipe_is_stored_without_custom_code_and_predicts_as_in_keras(
    trained: dict[str, tuple[Dataset, Any]],
) -> None:
    for recipe, (dataset, model) in trained.items():
        loaded = keras_file.load_model(keras_file.dump_model(model), where=recipe)

        found = _outputs(loaded, dataset.test_items)
        expected = model(dataset.test_items, training=False)
        np.testing.assert_allclose(found, np.asarray(expected), rtol=0, atol=1e-5, err_msg=recipe)


def test_openvino_gives_what_keras_gives_for_every_recipe(
    trained: dict[str, tuple[Dataset, Any]], tmp_path: Path
) -> None:
    # given
    for recipe, (dataset, model) in trained.items():
        (tmp_path / f"{recipe}.keras").write_bytes(keras_file.dump_model(model))
        np.savez(
            tmp_path / f"{recipe}.npz",
            inputs=dataset.test_items,
            outputs=_outputs(model, dataset.test_items),
        )

    # when
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("openvino_differences.py")), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    # then
    assert 0 == done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert set(_RECIPES) == set(found)
    assert 1e-5 > max(found.values()), found


def test_a_token_beyond_the_vocabulary_is_an_unknown_word(
    trained: dict[str, tuple[Dataset, Any]],
) -> None:
    _, model = trained["topics"]
    unknown = np.full((1, 256), 2, np.int32)
    beyond = np.full((1, 256), 2**31 - 1, np.int32)
    padding, negative = np.zeros((1, 256), np.int32), np.full((1, 256), -1, np.int32)

    found = _outputs(model, np.concatenate([unknown, beyond, padding, negative]))

    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[2], found[3])
    assert (found[0] != found[2]).any()


def test_a_recipe_for_other_items_is_refused() -> None:
    for items, recipe, fact in (
        (np.zeros((2, 13), np.float32), "mlp", r"mlp takes pixels .* float32 \[13\]"),
        (np.zeros((2, 9), np.uint8), "cnn", r"cnn takes images .* uint8 \[9\]"),
        (np.zeros((2, 9), np.uint8), "topics", r"text takes token sequences .* uint8 \[9\]"),
        (np.zeros((2, 9), np.int32), "vectors", r"vectors takes vectors .* int32 \[9\]"),
        (np.zeros((2, 9), np.float32), "regression", "predicts values, but made-up has classes"),
        (np.zeros((2, 9), np.float32), "table", r"columns of a table, and .* float32 \[9\]"),
        (np.zeros((2, 9), np.float32), "texts", r"takes texts \(string \[\]\), .* float32 \[9\]"),
        ({"a": np.zeros((2, 1), np.float32)}, "vectors", r"columns of a table \(a\), not arrays"),
    ):
        with pytest.raises(UsageError, match=fact):
            build_model(RECIPES[recipe], _dataset(items, outputs=2), seed=0)


def test_custom_data_gets_the_recipe_for_its_items() -> None:
    for items, recipe in (
        (np.zeros((2, 13), np.float32), "vectors"),
        (np.zeros((2, 30), np.int32), "topics"),
        (np.full(2, b"a text", object), "texts"),
        ({"a": np.zeros((2, 1), np.float32)}, "table"),
        (np.zeros((2, 64, 64, 3), np.uint8), "cnn"),
        (np.zeros((2, 64, 64), np.uint8), "mlp"),
        (np.zeros((2, 64, 65), np.uint8), "photos"),
        (np.zeros((2, 224, 224, 3), np.uint8), "photos"),
    ):
        assert recipe == default_recipe(_dataset(items, outputs=2)).name
