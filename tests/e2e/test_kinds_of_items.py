"""Images, vectors and token sequences; classes and values: from training to results as files."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.formats.items import Array
from model_store.engines import keras_file
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from trainer.data.dataset import Dataset, Targets
from trainer.job import TrainingPlan, train

from .conftest import LiveDeployment

_ITEMS = 40
_Maker = Callable[[np.random.Generator], tuple[Array, Targets]]


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A model of one kind, and items for it."""

    manifest: ModelManifest
    items: Array
    #: What Keras itself predicts for them: float32 [items, outputs].
    expected: Array
    targets: Targets


def _images(rng: np.random.Generator) -> tuple[Array, Targets]:
    """Colour images; the class is the brightest channel."""
    labels = np.arange(_ITEMS) % 3
    images = rng.integers(0, 100, (_ITEMS, 16, 16, 3), np.uint8)
    images[np.arange(_ITEMS), :, :, labels] += 150
    return images, labels


def _prices(rng: np.random.Generator) -> tuple[Array, Targets]:
    """Features of very different size, and a price of about 22 that follows them."""
    features = (rng.normal(size=(_ITEMS, 13)) * np.logspace(-1, 3, 13)).astype(np.float32)
    return features, (22 + 5 * features[:, 0]).astype(np.float32)


def _topics(rng: np.random.Generator) -> tuple[Array, Targets]:
    """Token sequences, padded in front; the topic is the last word."""
    topics = np.arange(_ITEMS) % 4
    tokens = rng.integers(100, 9_000, (_ITEMS, 64)).astype(np.int32)
    tokens[: _ITEMS // 2, :20] = 0
    tokens[:, -1] = 10 + topics
    return tokens, topics


#: What makes items and targets, the recipe, and the names of the outputs.
_MAKERS: dict[str, tuple[_Maker, str, list[str]]] = {
    "images": (_images, "cnn", ["red", "green", "blue"]),
    "prices": (_prices, "regression", ["price_k_usd"]),
    "topics": (_topics, "topics", ["grain", "gold", "gas", "ship"]),
}


@pytest.fixture(scope="module")
def kinds(live: LiveDeployment) -> dict[str, _Kind]:
    """A model of each kind, trained and published as `@prod`; `prices` has two versions."""
    models = ModelStore(objects=live.objects)
    found = {}
    for name, (make, recipe, classes) in _MAKERS.items():
        items, targets = make(np.random.default_rng(0))
        dataset = Dataset(
            name=name,
            task="regression" if name == "prices" else "classification",
            train_items=items,
            train_targets=targets,
            test_items=items,
            test_targets=targets,
            classes=classes,
        )
        plan = TrainingPlan(recipe=recipe, epochs=3, batch_size=8)
        manifest = train(dataset, name=name, models=models, plan=plan, promote="prod")
        artifact = models.fetch(manifest.artifact)
        predict = keras_file.load_model(artifact, where=name).predict
        expected = predict(items, verbose=0)
        found[name] = _Kind(manifest=manifest, items=items, expected=expected, targets=targets)
        if name == "prices":
            longer = TrainingPlan(recipe=recipe, epochs=4, batch_size=8)
            train(dataset, name=name, models=models, plan=longer)
    return found


@pytest.mark.parametrize("name", _MAKERS)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_what_workers_predict_is_what_keras_predicts(
    live: LiveDeployment, kinds: dict[str, _Kind], tmp_path: Path, name: str, suffix: str
) -> None:
    # given a file of items
    kind, path = kinds[name], tmp_path / f"items{suffix}"
    if suffix == ".npy":
        np.save(path, kind.items, allow_pickle=False)
    else:
        np.savez_compressed(path, kind.items)

    # when it is submitted in shards that fit no tile
    job = live.answer(
        *("submit", str(path), "--model", f"{name}@prod"), "--items-per-shard", "7", "--wait"
    )
    outputs = _results(live, job["job_id"], tmp_path / "outputs.npy", fmt="npy")

    # then
    assert ("SUCCEEDED", 6, _ITEMS) == (job["state"], job["shards"], job["items_ok"])
    found = np.load(outputs)
    assert (np.float32, kind.expected.shape) == (found.dtype, found.shape)
    np.testing.assert_allclose(found, kind.expected, rtol=0, atol=1e-5)
    # and comes out the same to the byte, run once more
    assert live.answer("jobs", "verify", job["job_id"])["same"]


def test_a_regression_is_read_as_values_and_never_as_classes(
    live: LiveDeployment, kinds: dict[str, _Kind], tmp_path: Path
) -> None:
    # given
    kind = kinds["prices"]
    np.save(tmp_path / "items.npy", kind.items, allow_pickle=False)
    np.save(tmp_path / "targets.npy", kind.targets, allow_pickle=False)
    (tmp_path / "classes.json").write_text('["price_k_usd"]')

    # when
    job = live.answer(*("submit", str(tmp_path / "items.npy"), "--model", "prices@prod"), "--wait")
    rows = _results(live, job["job_id"], tmp_path / "rows.jsonl", fmt="jsonl")
    table = _results(live, job["job_id"], tmp_path / "rows.csv", fmt="csv")
    values = _results(live, job["job_id"], tmp_path / "values.npy", fmt="npy")

    # then
    shown = live.answer("models", "show", "prices@prod")["manifest"]
    assert ("regression", ["price_k_usd"]) == (shown["task"], shown["classes"])
    assert "mean absolute error" in live.run("models", "list").stdout
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    assert ["item_id", "price_k_usd", "error", "model"] == list(lines[0])
    prices = np.array([line["price_k_usd"] for line in lines], np.float32)
    np.testing.assert_allclose(prices, kind.expected[:, 0], rtol=0, atol=1e-5)
    with table.open(newline="") as file:
        assert ["item_id", "price_k_usd", "error", "model"] == next(csv.reader(file))
    # and the errors are those of Keras's own values
    evaluation = live.answer("evaluate", "--items", str(tmp_path), "--values", str(values))
    errors = np.abs(kind.expected[:, 0] - kind.targets)
    assert _ITEMS == evaluation["items"]
    assert pytest.approx(float(errors.mean()), abs=1e-4) == evaluation["mean_absolute_error"]


def test_two_versions_of_a_regression_are_compared_by_their_values(
    live: LiveDeployment, kinds: dict[str, _Kind], tmp_path: Path
) -> None:
    np.save(tmp_path / "items.npy", kinds["prices"].items, allow_pickle=False)
    compare = ("models", "compare", "prices@prod", "prices:2")

    found = live.answer(*compare, "--input", str(tmp_path / "items.npy"))
    text = live.run(*compare, "--input", str(tmp_path / "items.npy")).stdout

    assert ("regression", _ITEMS, [], []) == (
        found["task"],
        found["items"],
        found["flips"],
        found["classes"],
    )
    (price,) = found["values"]
    first = float(kinds["prices"].expected.mean())
    assert ("price_k_usd", pytest.approx(first, abs=1e-4)) == (price["name"], price["mean_first"])
    assert 0 < price["mean_change"] <= price["largest_change"]
    assert "price_k_usd" in text
    assert "flips" not in text


def test_tokens_beyond_the_vocabulary_cost_nobody_a_result(
    live: LiveDeployment, kinds: dict[str, _Kind], tmp_path: Path
) -> None:
    # given one sequence that has them among others
    kind = kinds["topics"]
    tokens = kind.items.copy()
    tokens[3, :30] = [2**31 - 1, -1, 10_000] * 10
    np.save(tmp_path / "tokens.npy", tokens, allow_pickle=False)

    # when
    job = live.answer("submit", str(tmp_path / "tokens.npy"), "--model", "topics@prod", "--wait")

    # then
    found = np.load(_results(live, job["job_id"], tmp_path / "outputs.npy", fmt="npy"))
    assert ("SUCCEEDED", True) == (job["state"], bool(np.isfinite(found[3]).all()))
    others = np.arange(_ITEMS) != 3
    np.testing.assert_allclose(found[others], kind.expected[others], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "items", "words"),
    [
        ("prices", np.zeros((2, 12), np.float32), ["items of shape (12,)", "takes (13,)"]),
        ("prices", np.full((2, 13), np.nan), ["item 0 has NaN or infinity"]),
        ("topics", np.zeros((2, 64)), ["dtype float64", "takes int32", "tokens"]),
        ("topics", np.full((2, 64), 2**40), ["do not fit int32"]),
    ],
)
def test_items_of_another_kind_are_refused_in_one_line(  # noqa: PLR0917 - a case each
    live: LiveDeployment,
    kinds: dict[str, _Kind],
    tmp_path: Path,
    name: str,
    items: Any,
    words: list[str],
) -> None:
    np.save(tmp_path / "items.npy", items)

    done = live.forked.run(
        *("submit", str(tmp_path / "items.npy"), "--model", name), environ=live.environ
    )

    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n")), done.stderr
    assert [] == [word for word in words if word not in done.stderr], done.stderr


def _results(live: LiveDeployment, job_id: str, path: Path, *, fmt: str) -> Path:
    done = live.forked.run(
        *("jobs", "results", job_id, "--format", fmt, "--output", str(path)), environ=live.environ
    )
    assert 0 == done.returncode, done.stderr
    return path
