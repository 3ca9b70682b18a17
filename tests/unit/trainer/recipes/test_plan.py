"""What the caller says of a training, checked before the data are loaded."""

import pytest

from fornada.errors import UsageError
from trainer.recipes.catalog import RECIPES
from trainer.recipes.plan import TrainingPlan, check_plan, metric_names, optimizer_class


def test_the_recipe_fills_in_the_plan() -> None:
    recipe = RECIPES["regression"]

    plan = TrainingPlan(epochs=3, loss="mean_absolute_error").filled(recipe, "values")

    assert ("regression", 3, "mean_absolute_error") == (plan.recipe, plan.epochs, plan.loss)
    assert (
        recipe.batch_size,
        recipe.optimizer,
        recipe.learning_rate,
        ("mean_absolute_error",),
    ) == (
        plan.batch_size,
        plan.optimizer,
        plan.learning_rate,
        plan.metrics,
    )


def test_a_compiled_model_keeps_its_own_settings() -> None:
    plan = TrainingPlan().filled(RECIPES["mlp"], "probabilities", compiled=True)

    assert {"epochs": 5, "batch_size": 64, "validation_split": 0.2} == plan.parameters()


def test_parameters_are_what_was_chosen_without_what_is_off() -> None:
    plan = TrainingPlan(validation_split=0.0, keep_best=True).filled(
        RECIPES["mlp"], "probabilities"
    )

    assert {
        "epochs": 5,
        "batch_size": 64,
        "validation_split": 0.0,
        "optimizer": "adam",
        "learning_rate": 0.001,
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
        "keep_best": True,
    } == plan.parameters()


def test_optimizers_are_found_in_any_case() -> None:
    assert "RMSprop" == optimizer_class("RMSProp").__name__


def test_an_invalid_plan_names_the_mistake_and_the_remedy() -> None:
    for plan, fact in (
        (TrainingPlan(epochs=0), "epochs is 0; give at least 1"),
        (TrainingPlan(batch_size=-1), "batch_size is -1"),
        (TrainingPlan(early_stopping_epochs=0), "early_stopping_epochs is 0"),
        (TrainingPlan(validation_split=1.0), "validation_split is 1"),
        (TrainingPlan(optimizer="adamx"), "no optimizer 'adamx'; did you mean adamax or adam"),
        (TrainingPlan(loss="hinj"), "no loss 'hinj'; did you mean hinge"),
        (TrainingPlan(metrics=["acuracy"]), "no metric 'acuracy'; did you mean .*accuracy"),
        (TrainingPlan(optimizer="?"), r"no optimizer '\?'; choose from: adadelta"),
        (TrainingPlan(loss="get_file"), "no loss 'get_file'"),
    ):
        with pytest.raises(UsageError, match=fact):
            check_plan(plan)


def test_keras_short_names_are_names() -> None:
    check_plan(TrainingPlan(loss="mse", metrics=["acc", "accuracy", "mae", "RootMeanSquaredError"]))


def test_the_metrics_are_known_before_training() -> None:
    plan = TrainingPlan(validation_split=0.0, metrics=["mae"])

    assert {"loss", "mae", "test_loss", "test_mae"} == metric_names(plan)
