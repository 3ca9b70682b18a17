"""A recipe of the caller's own: `package.module:function`, which returns a Keras model."""

import importlib
import inspect
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from fornada.errors import ModelRefusedError, UsageError, error_line
from fornada.records import Dtype
from model_store.engines.keras_file import dump_model, load_model
from model_store.engines.keras_predict import compile_predict
from model_store.engines.keras_setup import import_keras
from trainer.data.dataset import Dataset
from trainer.recipes.catalog import Recipe
from trainer.recipes.plan import HOW_COMPILED, TrainingPlan

_EPOCHS, _BATCH_SIZE = 5, 64


def custom_recipe(name: str, dataset: Dataset) -> Recipe:
    """The recipe whose `build` calls the function that `name` names, once it was imported.

    The function is called with those of `item_shape`, `item_dtype`, `output_count` and `classes`
    that it takes by name, and returns a `keras.Model`. One that it has compiled is trained as it
    is; another one with what the plan says, or else with what is usual for such targets.

    Raises:
        UsageError: It cannot be imported, or is no function.
    """
    function = _imported(name)
    known = {"classes": list(dataset.classes)}

    def build(item_shape: Sequence[int], item_dtype: Dtype, output_count: int) -> Any:
        values = {
            **known,
            "item_shape": tuple(item_shape),
            "item_dtype": item_dtype,
            "output_count": output_count,
        }
        return _called(name, function, values)

    regression = dataset.task == "regression"
    return Recipe(
        name=name,
        build=build,
        task=dataset.task,
        loss="mean_squared_error" if regression else "sparse_categorical_crossentropy",
        metrics=("mean_absolute_error",) if regression else ("accuracy",),
        epochs=_EPOCHS,
        batch_size=_BATCH_SIZE,
    )


def is_custom(recipe: str | None) -> bool:
    """Whether this names a function of the caller's."""
    return recipe is not None and ":" in recipe


def check_custom_model(
    model: Any, dataset: Dataset, plan: TrainingPlan, *, allowed_layers: Collection[str]
) -> None:
    """Check before hours of training that the model can be published, and asked for predictions.

    Raises:
        UsageError: It is compiled, and the plan says how to compile it.
        ModelRefusedError: It takes other items, gives other outputs, or has layers that no worker
            would load.
    """
    if model.compiled:
        said = [name for name in HOW_COMPILED if getattr(plan, name) is not None]
        if said:
            raise UsageError(
                f"recipe {plan.recipe} compiles its model itself, and {', '.join(said)} was given "
                "too; leave that out, or do not compile it there"
            )
    where = f"the model of recipe {plan.recipe}"
    loaded = load_model(dump_model(model), where=where, allowed_layers=allowed_layers)
    compile_predict(
        loaded, tile_items=1, item_shape=dataset.item_shape, item_dtype=dataset.item_dtype
    )
    outputs = loaded.output_shape[-1]
    if outputs != dataset.output_count:
        raise ModelRefusedError(
            f"{where} gives {outputs} outputs an item, and {dataset.name} needs "
            f"{dataset.output_count}: {', '.join(dataset.classes[:5])}; give its last layer so many"
        )


def _imported(name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    # As `python -m` does: the caller's module lies where he is.
    if here not in sys.path:
        sys.path.insert(0, here)
    # Keras is set to TensorFlow before the module imports it.
    import_keras()
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except Exception as exc:
        # The module is the caller's code.
        raise UsageError(
            f"recipe {name} cannot be imported ({type(exc).__name__}: {exc}); write "
            "package.module:function, as Python would import it from here"
        ) from exc
    if not callable(function):
        raise UsageError(f"recipe {name} is a {type(function).__name__}; name a function")
    return function


def _called(name: str, function: Any, values: dict[str, Any]) -> Any:
    taken = inspect.signature(function).parameters
    missing = [
        each
        for each, parameter in taken.items()
        if parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
        and each not in values
    ]
    if missing:
        raise UsageError(
            f"recipe {name} wants {', '.join(missing)}; it may take {', '.join(sorted(values))}, "
            "and all else needs a default"
        )
    try:
        model = function(**{each: value for each, value in values.items() if each in taken})
    except Exception as exc:
        raise UsageError(
            f"recipe {name} failed ({type(exc).__name__}: {error_line(exc)}); mend it"
        ) from exc
    if not isinstance(model, import_keras().Model):
        raise UsageError(f"recipe {name} returned a {type(model).__name__}; return a keras.Model")
    if not model.built:
        raise UsageError(f"recipe {name} returned a model without an input; begin with keras.Input")
    return model
