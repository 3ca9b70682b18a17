"""How to train: the caller's choices, with the recipe's defaults filled in."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fornada.errors import UsageError
from model_store.engines.keras_setup import import_keras
from trainer.data.dataset import TargetKind
from trainer.recipes.catalog import OBJECTIVES, Recipe

#: Fields that `compile` takes.
HOW_COMPILED = ("optimizer", "learning_rate", "loss", "metrics")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """How to train; `None` is the recipe's default.

    The same plan, data, package versions and kind of machine give the same model, to the byte,
    unless its manifest says why not.
    """

    #: A name in `trainer.recipes.catalog.RECIPES` or `package.module:function`; `None`: by items.
    recipe: str | None = None
    #: At most.
    epochs: int | None = None
    batch_size: int | None = None
    #: Share of the training items, taken from the end, that is held out for validation.
    validation_split: float = 0.2
    #: Keras's name: adam, sgd, rmsprop, ….
    optimizer: str | None = None
    learning_rate: float | None = None
    #: Keras's name, as those of the metrics.
    loss: str | None = None
    metrics: Sequence[str] | None = None
    seed: int = 0
    #: Stop after this many epochs without a new lowest validation loss.
    early_stopping_epochs: int | None = None
    #: Publish the weights of the epoch with the lowest validation loss, not the last.
    keep_best: bool = False

    def filled(self, recipe: Recipe, kind: TargetKind, *, compiled: bool = False) -> "TrainingPlan":
        """The plan with the recipe's defaults; without those of `compile` if it is `compiled`."""
        defaults: dict[str, Any] = {"epochs": recipe.epochs, "batch_size": recipe.batch_size}
        if not compiled:
            defaults |= {
                "optimizer": recipe.optimizer,
                "learning_rate": recipe.learning_rate,
                "loss": OBJECTIVES[kind].loss,
                "metrics": OBJECTIVES[kind].metrics,
            }
        own = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, recipe=recipe.name, **own)

    def parameters(self) -> dict[str, Any]:
        """The plan for a manifest, which has recipe and seed in fields of their own."""
        plain = dataclasses.asdict(self)
        del plain["recipe"], plain["seed"]
        plain["metrics"] = self.metrics and list(self.metrics)
        return {
            name: value for name, value in plain.items() if value is not None and value is not False
        }


def check_plan(plan: TrainingPlan) -> None:
    """Check what Keras would only find after the data is loaded.

    Raises:
        UsageError: A number is out of range, or Keras has no such optimizer, loss or metric.
    """
    for name, least in (("epochs", 1), ("batch_size", 1), ("early_stopping_epochs", 1)):
        value = getattr(plan, name)
        if value is not None and value < least:
            raise UsageError(f"{name} is {value}; give at least {least}")
    if not 0 <= plan.validation_split < 1:
        raise UsageError(f"validation_split is {plan.validation_split:g}; give 0 to below 1")
    keras = import_keras()
    if plan.optimizer is not None:
        optimizer_class(plan.optimizer)
    if plan.loss is not None:
        _check_known("loss", plan.loss, keras.losses)
    for metric in plan.metrics or ():
        # Keras picks the kind of accuracy by the loss.
        if metric not in {"accuracy", "acc"}:
            _check_known("metric", metric, keras.metrics)


def compile_model(model: Any, plan: TrainingPlan) -> None:
    """Compile `model` by a filled plan."""
    optimizer = optimizer_class(plan.optimizer or "adam")
    model.compile(
        # Named, so that the same training gives the same bytes.
        optimizer=optimizer(plan.learning_rate, name=optimizer.__name__.lower()),
        loss=plan.loss,
        metrics=list(plan.metrics or ()),
    )


def optimizer_class(name: str) -> Any:
    """Keras's optimizer class `name`, in any case.

    Raises:
        UsageError: There is none.
    """
    optimizers = import_keras().optimizers
    classes = {
        each.__name__.lower(): each
        for each in vars(optimizers).values()
        if isinstance(each, type)
        and issubclass(each, optimizers.Optimizer)
        and each.__name__ not in {"Optimizer", "LossScaleOptimizer"}
    }
    if name.lower() not in classes:
        raise _unknown("optimizer", name, classes)
    return classes[name.lower()]


def metric_names(plan: TrainingPlan) -> set[str]:
    """The metrics that a filled plan gives a model."""
    names = {"loss", *(plan.metrics or ())}
    validated = {f"val_{name}" for name in names} if plan.validation_split else set()
    return names | validated | {f"test_{name}" for name in names}


def _check_known(what: str, name: str, module: Any) -> None:
    try:
        module.get(name)
    except MemoryError:
        raise
    except Exception as exc:
        # ValueError, or TypeError for a class that needs arguments.
        known: Mapping[str, Any] = {
            each: value
            for each, value in vars(module).items()
            if each[0].islower() and callable(value) and each not in _NOT_NAMES
        }
        raise _unknown(what, name, known) from exc


#: Functions of `keras.losses` and `keras.metrics` that are neither losses nor metrics.
_NOT_NAMES = frozenset({"get", "serialize", "deserialize"})


def _unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from: {', '.join(names)}"
    return UsageError(f"Keras has no {what} {name!r}; {hint}")
