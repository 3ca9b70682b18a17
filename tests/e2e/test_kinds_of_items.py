"""Images, vectors and token sequences, classes and values: from published models to results."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fornada.formats.items import Array
from fornada.tensors import Kind
from model_store.engines import keras_file, keras_setup
from model_store.publishing.file import publish_file
from model_store.publishing.stated import Stated
from model_store.safety.trust import Trust
from model_store.store import ModelStore
from trainer.recipes import networks

from ..walls import no_wall
from .conftest import LiveDeployment

_ITEMS = 40
#: The network that each model has, the kind of its outputs, and their names.
_MODELS: dict[str, tuple[str, Kind, list[str]]] = {
    "images": ("cnn", "probabilities", ["red", "green", "blue"]),
    "prices": ("regression", "values", ["price_k_usd"]),
    "topics": ("text", "probabilities", ["grain", "gold", "gas", "ship"]),
}


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """Items of one kind, and what Keras predicts for them: float32 [items, outputs]."""

    items: Array
    expected: Array


def _items() -> dict[str, Array]:
    """Colour images; features of very different size; tokens, some padded in front."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(100, 9_000, (_ITEMS, 64), np.int32)
    tokens[: _ITEMS // 2, :20] = 0
    return {
        "images": rng.integers(0, 256, (_ITEMS, 16, 16, 3), np.uint8),
        "prices": (rng.normal(size=(_ITEMS, 13)) * np.logspace(-1, 3, 13)).astype(np.float32),
        "topics": tokens,
    }


@pytest.fixture(scope="module")
def kinds(live: LiveDeployment) -> dict[str, _Kind]:
    """An untrained model of each kind, published; `prices` has two versions."""
    found = {
        name: _Kind(items=items, expected=_publish(live, name, items, seed=1))
        for name, items in _items().items()
    }
    _publish(live, "prices", _items()["prices"], seed=2)
    return found


def _publish(live: LiveDeployment, name: str, items: Array, *, seed: int) -> Array:
    network, kind, classes = _MODELS[name]
    keras_setup.import_keras().utils.set_random_seed(seed)
    model = getattr(networks, network)(items.shape[1:], items.dtype.name, len(classes))
    networks.adapt(model, items)
    manifest = publish_file(
        keras_file.dump_model(model),
        where=name,
        name=name,
        models=ModelStore(
            objects=live.objects, trust=Trust.from_settings(live.settings), open_wall=no_wall
        ),
        stated=Stated(classes=classes),
        metrics={"test_mean_absolute_error": 0.5} if kind == "values" else None,
    )
    assert kind == manifest.output.kind
    expected: Array = model.predict(items, verbose=0)
    return expected


def test_workers_predict_what_keras_predicts_for_each_kind(
    live: LiveDeployment, kinds: dict[str, _Kind], tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", kinds["images"].items, allow_pickle=False)
    np.save(tmp_path / "prices.npy", kinds["prices"].items, allow_pickle=False)
    np.savez_compressed(tmp_path / "topics.npz", kinds["topics"].items)
    for path in sorted(tmp_path.iterdir()):
        kind = kinds[path.stem]

        # when they are submitted in shards that are not a multiple of a tile
        job = live.answer(
            *("submit", str(path), "--model", f"{path.stem}:1"), "--items-per-shard", "7", "--wait"
        )
        outputs = _results(live, job["job_id"], tmp_path / f"{path.stem}-out", fmt="npy")

        # then
        assert ("SUCCEEDED", 6, _ITEMS) == (job["state"], job["shards"], job["items_ok"])
        found = np.load(outputs)
        assert (np.float32, kind.expected.shape) == (found.dtype, found.shape)
        np.testing.assert_allclose(found, kind.expected, rtol=0, atol=1e-5)
        # and a second run gives the same bytes
        assert live.answer("jobs", "verify", job["job_id"])["same"]


def test_a_regression_is_read_as_values_and_never_as_classes(
    live: LiveDeployment, kinds: dict[str, _Kind], tmp_path: Path
) -> None:
    # given
    kind = kinds["prices"]
    targets = np.linspace(0, 50, _ITEMS, dtype=np.float32)
    np.save(tmp_path / "items.npy", kind.items, allow_pickle=False)
    np.save(tmp_path / "targets.npy", targets, allow_pickle=False)
    (tmp_path / "classes.json").write_text('["price_k_usd"]')

    # when
    job = live.answer(*("submit", str(tmp_path / "items.npy"), "--model", "prices:1"), "--wait")
    rows = _results(live, job["job_id"], tmp_path / "rows.jsonl", fmt="jsonl")
    table = _results(live, job["job_id"], tmp_path / "rows.csv", fmt="csv")
    values = _results(live, job["job_id"], tmp_path / "values.npy", fmt="npy")

    # then
    shown = live.answer("models", "show", "prices:1")["manifest"]
    (output,) = shown["outputs"]
    assert ("values", ["price_k_usd"]) == (output["kind"], output["classes"])
    listed = live.forked.run("models", "list", environ=live.environ)
    assert "mean absolute error 0.5" in listed.stdout
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    assert ["item_id", "price_k_usd", "error", "model"] == list(lines[0])
    prices = np.array([line["price_k_usd"] for line in lines], np.float32)
    np.testing.assert_allclose(prices, kind.expected[:, 0], rtol=0, atol=1e-5)
    with table.open(newline="") as file:
        assert ["item_id", "price_k_usd", "error", "model"] == next(csv.reader(file))
    # and the errors are those of Keras's own values
    evaluation = live.answer("evaluate", "--items", str(tmp_path), "--values", str(values))
    errors = np.abs(kind.expected[:, 0] - targets)
    assert _ITEMS == evaluation["items"]
    assert pytest.approx(float(errors.mean()), abs=1e-4) == evaluation["mean_absolute_error"]


@pytest.mark.slow
def test_two_versions_of_a_regression_are_compared_by_their_values(
    live: LiveDeployment, kinds: dict[str, _Kind], tmp_path: Path
) -> None:
    np.save(tmp_path / "items.npy", kinds["prices"].items, allow_pickle=False)
    compare = ("models", "compare", "prices:1", "prices:2")

    found = live.answer(*compare, "--input", str(tmp_path / "items.npy"))
    text = live.run(*compare, "--input", str(tmp_path / "items.npy")).stdout

    (output,) = found["outputs"]
    assert ("values", _ITEMS, [], []) == (
        output["kind"],
        output["items"],
        output["flips"],
        output["classes"],
    )
    (price,) = output["values"]
    first = float(kinds["prices"].expected.mean())
    assert ("price_k_usd", pytest.approx(first, abs=1e-4)) == (price["name"], price["mean_first"])
    assert 0 < price["mean_change"] <= price["largest_change"]
    assert "price_k_usd" in text
    assert "flips" not in text


def _results(live: LiveDeployment, job_id: str, path: Path, *, fmt: str) -> Path:
    done = live.forked.run(
        *("jobs", "results", job_id, "--format", fmt, "--output", str(path)), environ=live.environ
    )
    assert 0 == done.returncode, done.stderr
    return path
