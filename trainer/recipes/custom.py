"""A custom recipe: `package.module:function`, which returns a Keras model."""

import importlib
import inspect
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fornada.errors import ModelRefusedError, UsageError, error_line
from fornada.tensors import InputTensor
from model_store.engines.keras_file import dump_model, load_model
from model_store.engines.keras_setup import import_keras
from model_store.publishing.keras_backend import compile_predict
from model_store.signature import read_signature
from trainer.data.dataset import Dataset, TargetKind
from trainer.recipes.catalog import Recipe
from trainer.recipes.networks import adapt
from trainer.recipes.plan import HOW_COMPILED, TrainingPlan

_EPOCHS, _BATCH_SIZE = 5, 64


def custom_recipe(name: str, dataset: Dataset) -> Recipe:
    """Import the function `name`; return the recipe that calls it.

    The function takes any of `item_shape`, `item_dtype`, `output_count` and `classes` by name, and
    returns a `keras.Model`. A compiled model is trained as it is; another one is compiled with the
    plan's choices, or with the usual ones for such targets.

    Raises:
        UsageError: It cannot be imported, or is not a function.
    """
    function = _imported(name)
    # Of two classes, a network with a softmax has two outputs, and one with a sigmoid one.
    known = {"classes": list(dataset.classes), "output_count": len(dataset.classes)}

    def build(dataset: Dataset, _: str | None) -> Any:
        values = {**known, "item_shape": dataset.item_shape, "item_dtype": dataset.item_dtype}
        model = _called(name, function, values)
        adapt(model, dataset.train_items)
        return model

    return Recipe(
        name=name,
        build=build,
        of_values=dataset.kind == "values",
        epochs=_EPOCHS,
        batch_size=_BATCH_SIZE,
    )


def is_custom(recipe: str | None) -> bool:
    """Whether `recipe` names a function."""
    return recipe is not None and ":" in recipe


def check_custom_model(
    model: Any, dataset: Dataset, plan: TrainingPlan, *, allowed_objects: Collection[str]
) -> None:
    """Check before training that the model can be published and served.

    Raises:
        UsageError: It is compiled, and the plan says how to compile it.
        ModelRefusedError: It takes other items, has other outputs, or has layers that no worker
            would load.
    """
    if model.compiled:
        given = [name for name in HOW_COMPILED if getattr(plan, name) is not None]
        if given:
            raise UsageError(
                f"recipe {plan.recipe} compiles its model, but {', '.join(given)} was given too; "
                "leave that out, or return the model uncompiled"
            )
    where = f"the model of recipe {plan.recipe}"
    loaded = load_model(dump_model(model), where=where, allowed_objects=allowed_objects)
    signature = read_signature(loaded, where)
    if len(signature.inputs) > 1 or len(signature.outputs) > 1:
        raise ModelRefusedError(
            f"{where} has {len(signature.inputs)} inputs and {len(signature.outputs)} outputs; a "
            "recipe makes a model of one of each, so train this one in a script of your own and "
            "publish it with model_store.publish"
        )
    taken = InputTensor(name="items", dtype=dataset.item_dtype, shape=list(dataset.item_shape))
    compile_predict(loaded, tile_items=1, takes=[taken])
    outputs = loaded.output_shape[-1]
    if outputs not in {dataset.output_count, len(dataset.classes)}:
        raise ModelRefusedError(
            f"{where} has {outputs} outputs, but {dataset.name} needs {len(dataset.classes)} "
            f"({', '.join(dataset.classes[:5])}); change the size of its last layer"
        )
    activation = getattr(getattr(loaded.layers[-1], "activation", None), "__name__", "sigmoid")
    if output_kind(loaded, dataset) in {"binary", "multilabel"} and activation != "sigmoid":
        raise ModelRefusedError(
            f"{where} ends in the activation {activation}, but {outputs} outputs for "
            f"{len(dataset.classes)} classes of {dataset.name} are each a probability of their "
            "own; end it in a sigmoid"
        )


def output_kind(model: Any, dataset: Dataset) -> TargetKind:
    """What the outputs of `model` are; of two classes it may give one probability, or both."""
    if dataset.kind == "binary" and model.output_shape[-1] == len(dataset.classes):
        return "probabilities"
    return dataset.kind


def _imported(name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    # Like `python -m`: the module may be in the working directory.
    if here not in sys.path:
        sys.path.insert(0, here)
    # Select Keras's backend before the module imports Keras.
    import_keras()
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except MemoryError:
        raise
    except Exception as exc:
        # The module is the caller's code.
        raise UsageError(
            f"recipe {name} cannot be imported ({type(exc).__name__}: {exc}); write "
            "package.module:function, importable from the working directory"
        ) from exc
    if not callable(function):
        raise UsageError(f"recipe {name} is of type {type(function).__name__}; name a function")
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
            f"recipe {name} needs {', '.join(missing)}; it may take {', '.join(sorted(values))}; "
            "every other parameter needs a default"
        )
    try:
        model = function(**{each: value for each, value in values.items() if each in taken})
    except MemoryError:
        raise
    except Exception as exc:
        raise UsageError(
            f"recipe {name} failed ({type(exc).__name__}: {error_line(exc)}); fix it"
        ) from exc
    if not isinstance(model, import_keras().Model):
        raise UsageError(f"recipe {name} returned a {type(model).__name__}; return a keras.Model")
    if not model.built:
        raise UsageError(f"recipe {name} returned a model without an input; start with keras.Input")
    return model
