"""A table from training to results: columns by name, what is missing, keys beside the scores."""

import csv
from pathlib import Path

import numpy as np
import pytest

from model_store.safety.trust import Trust
from model_store.store import ModelStore
from trainer import job
from trainer.data.custom import load_custom
from trainer.data.table import TableOptions
from trainer.recipes.plan import TrainingPlan

from ..walls import no_wall
from .conftest import LiveDeployment

_ROWS = 300


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
        plan=TrainingPlan(epochs=12, learning_rate=0.01),
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
