"""Tables and texts from training to results: the model takes what the files hold."""

import csv
import runpy
from pathlib import Path

import numpy as np
import pytest

from model_store.safety.trust import Trust
from model_store.store import ModelStore
from producer import Client
from trainer import job
from trainer.data.custom import load_custom
from trainer.data.table import TableOptions
from trainer.recipes.plan import TrainingPlan

from ..walls import no_wall
from .conftest import LiveDeployment

_ROWS = 300
_TEXTS = 120


def _write_customers(path: Path) -> None:
    """Customers who leave where they are young and of one plan; some say no age."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["customer", "age", "monthly charges (€)", "plan", "active", "leaves"])
        for number in range(_ROWS):
            age, plan = int(rng.integers(18, 90)), ("básico", "plus", "pro, 2")[number % 3]
            leaves = "yes" if age < 60 and number % 3 == 0 else "no"
            known, active = "" if number % 20 == 7 else age, ("true", "false")[number % 2]
            charges = round(float(rng.normal(40, 9)), 2)
            table.writerow([f"C-{number:03}", known, charges, plan, active, leaves])


def test_a_table_is_scored_by_the_model_that_learned_from_it(
    live: LiveDeployment, tmp_path: Path
) -> None:
    # given
    pytest.importorskip("pyarrow")
    path = tmp_path / "customers.csv"
    _write_customers(path)
    dataset = load_custom(path, table=TableOptions(target="leaves", drop=["customer"]))
    manifest = job.train(
        dataset,
        name="churn",
        models=ModelStore(
            objects=live.objects, trust=Trust.from_settings(live.settings), open_wall=no_wall
        ),
        plan=TrainingPlan(epochs=8, learning_rate=0.01),
        promote="prod",
    )
    assert [
        ("active", "float32", [1]),
        ("age", "float32", [1]),
        ("monthly charges (€)", "float32", [1]),
        ("plan", "string", [1]),
    ] == [(each.name, each.dtype, each.shape) for each in manifest.inputs]
    page = live.objects.get(manifest.files["report.html"].key).data.decode()
    assert "monthly charges (€): 1, float32; plan: 1, string" in page
    assert "Threshold" in page

    # when
    submitted = live.answer(
        *("submit", str(path), "--model", "churn@prod", "--id-column", "customer", "--wait")
    )
    scored = tmp_path / "scored.csv"
    done = live.run(
        *("jobs", "results", submitted["job_id"], "--format", "csv", "--output", str(scored)),
        *("--with-columns", "leaves", "--table", str(path)),
    )

    # then rows without an age have a score too
    assert (0, "SUCCEEDED", _ROWS) == (done.returncode, submitted["state"], submitted["items_ok"])
    with scored.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [f"C-{number:03}" for number in range(_ROWS)] == [row["item_id"] for row in rows]
    right = np.mean([row["label"] == row["leaves"] for row in rows])
    assert 0.9 < right
    assert 0.85 < manifest.metrics["test_accuracy"]


@pytest.mark.slow
def test_texts_are_scored_by_the_model_that_learned_from_them(
    live: LiveDeployment, tmp_path: Path
) -> None:
    # given texts as text_dataset_from_directory takes them
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    telling = {"bad": ["awful", "dull", "péssimo"], "good": ["great", "lovely", "ótimo"]}
    table = ["key,words,label"]
    for name, words in telling.items():
        (tmp_path / "reviews" / name).mkdir(parents=True)
        for number in range(_TEXTS // 2):
            chosen = [*rng.choice(words, 3), *rng.choice(["a", "film", "plot", "it", "was"], 5)]
            text = " ".join(rng.permutation(chosen))
            (tmp_path / "reviews" / name / f"{number}.txt").write_text(text, encoding="utf-8")
            table.append(f"{name}-{number},{text},{name}")
    (tmp_path / "reviews.csv").write_text("\n".join(table), encoding="utf-8")
    dataset = load_custom(tmp_path / "reviews")

    # when
    manifest = job.train(
        dataset,
        name="reviews",
        models=ModelStore(
            objects=live.objects, trust=Trust.from_settings(live.settings), open_wall=no_wall
        ),
        plan=TrainingPlan(),
        promote="prod",
    )
    submitted = live.answer(
        *("submit", str(tmp_path / "reviews.csv"), "--model", "reviews@prod", "--wait"),
        *("--id-column", "key", "--column", "text=words"),
    )
    scored = tmp_path / "scored.csv"
    live.run("jobs", "results", submitted["job_id"], "--format", "csv", "--output", str(scored))

    # then
    assert ("binary", ["bad", "good"]) == (manifest.output.kind, manifest.output.classes)
    assert ("text", "string", []) == (
        manifest.input.name,
        manifest.input.dtype,
        manifest.input.shape,
    )
    assert 0.95 < manifest.metrics["test_accuracy"]
    with scored.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    right = [row["item_id"].startswith(row["label"]) for row in rows]
    assert (_TEXTS, True) == (len(rows), np.mean(right) > 0.95)
    with Client.from_settings(live.settings) as client:
        listed = client.submit(["a great lovely film", "awful, dull"], model="reviews@prod")
        listed.wait(timeout_s=60)
        assert ["good", "bad"] == listed.results().labels
    assert b"a text" in live.objects.get(manifest.files["report.html"].key).data


def test_data_sets_of_keras_become_tables_and_texts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # given small ones in place of those that are downloaded
    from keras import datasets  # noqa: PLC0415 - seconds

    example = Path(__file__).parents[2] / "examples" / "as_files.py"
    words = {"good": 1, "bad": 2, "film": 3}
    tokens = [np.array(text) for text in ([1, 4, 6], [1, 5, 2, 6], [1, 6])]
    reviews = ((tokens, [1, 0, 0]), (tokens[:2], [1, 0]))
    houses = np.arange(26.0).reshape(2, 13)
    monkeypatch.setattr(datasets.imdb, "load_data", lambda: reviews)
    monkeypatch.setattr(datasets.imdb, "get_word_index", lambda: words)
    monkeypatch.setattr(datasets.boston_housing, "load_data", lambda: ((houses, [5.5, 6]),) * 2)

    for name in ("imdb", "boston_housing"):
        monkeypatch.setattr("sys.argv", ["as_files.py", name, str(tmp_path / name)])
        runpy.run_path(str(example))

    found = load_custom(tmp_path / "imdb")
    assert ["negative", "positive"] == list(found.classes)
    assert ["bad film", "film", "good film"] == sorted(
        path.read_text() for path in (tmp_path / "imdb" / "train").rglob("*.txt")
    )
    table = (tmp_path / "boston_housing" / "test.csv").read_text().splitlines()
    assert ["CRIM,ZN,INDUS", "LSTAT,MEDV", "12.0,5.5"] == [
        table[0][:13],
        table[0][-10:],
        table[1][-8:],
    ]
