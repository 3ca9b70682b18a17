"""Whether a model that was trained is good enough to be published."""

import numpy as np
import pytest

from fornada.errors import GateNotMetError, NotBetterError, UsageError
from fornada.storage.memory import InMemoryObjectStore
from model_store.gates import Gate
from model_store.store import ModelStore
from model_store.testing import draft_for_test
from trainer.evaluation.acceptance import Acceptance, deciding_metric
from trainer.recipes.catalog import RECIPES
from trainer.recipes.plan import TrainingPlan

from ....walls import no_wall


@pytest.fixture
def models() -> ModelStore:
    return ModelStore(objects=InMemoryObjectStore(), open_wall=no_wall)


def _publish(models: ModelStore, **metrics: float) -> None:
    draft = draft_for_test(
        name="m", item_shape=[2], item_dtype="uint8", classes=["a"], metrics=metrics
    )
    models.publish(
        draft,
        artifact=b"model",
        golden_inputs=np.zeros((1, 2), np.uint8),
        golden_outputs=np.zeros((1, 1), np.float32),
        check=lambda _artifact: None,
    )


def _check_better(models: ModelStore, metrics: dict[str, float], alias: str | None = None) -> None:
    Acceptance(only_if_better=True).check(metrics, name="m", alias=alias, models=models)


def test_an_unmet_gate_says_that_nothing_is_published(models: ModelStore) -> None:
    acceptance = Acceptance(gates=[Gate.parse("test_accuracy>=0.9")])

    acceptance.check({"test_accuracy": 0.9}, name="m", alias=None, models=models)
    with pytest.raises(GateNotMetError, match=r"new m is not published: test_accuracy is 0\.89"):
        acceptance.check({"test_accuracy": 0.89}, name="m", alias=None, models=models)


def test_a_gate_on_an_unknown_metric_fails_before_training() -> None:
    plan = TrainingPlan().filled(RECIPES["mlp"], "probabilities")

    Acceptance(gates=[Gate.parse("val_accuracy>0")]).check_names(plan)
    with pytest.raises(UsageError, match=r"no metric 'val_acuracy'.*val_accuracy"):
        Acceptance(gates=[Gate.parse("val_acuracy>0")]).check_names(plan)


def test_the_first_model_is_better_than_none_and_an_equally_good_one_is_not(
    models: ModelStore,
) -> None:
    _check_better(models, {"test_accuracy": 0.1})
    _publish(models, test_loss=1.0, test_accuracy=0.9)

    _check_better(models, {"test_loss": 2.0, "test_accuracy": 0.91})
    with pytest.raises(NotBetterError, match=r"test_accuracy is 0\.9, no better than .* of m:1"):
        _check_better(models, {"test_loss": 0.5, "test_accuracy": 0.9})


def test_it_is_compared_with_the_version_of_the_alias(models: ModelStore) -> None:
    _publish(models, test_accuracy=0.9)
    _publish(models, test_accuracy=0.5)
    models.promote("m", 1, "prod")

    _check_better(models, {"test_accuracy": 0.6})
    with pytest.raises(NotBetterError, match="m:1"):
        _check_better(models, {"test_accuracy": 0.6}, alias="prod")


def test_a_version_with_other_metrics_cannot_be_compared(models: ModelStore) -> None:
    _publish(models, accuracy=0.9)

    with pytest.raises(UsageError, match="m:1 has no metric 'test_accuracy'"):
        _check_better(models, {"test_accuracy": 0.6})


def test_the_first_metric_other_than_the_loss_decides() -> None:
    for metrics, expected in (
        (["loss", "accuracy", "test_loss", "test_accuracy"], "test_accuracy"),
        (["loss", "test_loss"], "test_loss"),
        (["test_auc", "test_loss", "test_accuracy"], "test_auc"),
    ):
        assert expected == deciding_metric(metrics)
