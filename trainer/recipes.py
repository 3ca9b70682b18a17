"""Networks by name, with what they are trained with unless the caller says otherwise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fornada.errors import UsageError
from fornada.messages import Dtype, Task
from model_store.keras_codec import import_keras
from trainer.dataset import Dataset

#: Item shape, item dtype and number of outputs → `keras.Model`, neither trained nor compiled.
Build = Callable[[Sequence[int], Dtype, int], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A network, and how it is trained by default."""

    name: str
    task: Task
    build: Build
    #: As `keras.Model.compile` takes it, as the metrics and the optimizer.
    loss: str
    metrics: tuple[str, ...]
    optimizer: str = "adam"
    learning_rate: float = 0.001
    epochs: int = 5
    batch_size: int = 64


def mlp(item_shape: Sequence[int], item_dtype: Dtype, output_count: int) -> Any:
    """TensorFlow's Fashion-MNIST network, with a little dropout; takes raw uint8 pixels.

    Scaling is a layer, so that callers send pixels as they are, at a quarter of the bytes.
    Layers are named, so that the same training gives the same bytes.
    """
    keras = import_keras()
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(tuple(item_shape), dtype=item_dtype, name="pixels"),
            layers.Rescaling(1 / 255, name="scale"),
            layers.Flatten(name="flatten"),
            layers.Dense(256, activation="relu", name="hidden"),
            layers.Dropout(0.2, name="dropout"),
            layers.Dense(output_count, activation="softmax", name="probabilities"),
        ],
        name="mlp",
    )


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="mlp",
            task="classification",
            build=mlp,
            loss="sparse_categorical_crossentropy",
            metrics=("accuracy",),
        ),
    )
}


def recipe_named(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        UsageError: No recipe has this name.
    """
    if name not in RECIPES:
        raise UsageError(f"no recipe is called {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]


def default_recipe(dataset: Dataset) -> Recipe:  # noqa: ARG001 - one so far
    """The recipe that fits `dataset`, by its task and the shape and dtype of its items."""
    return RECIPES["mlp"]


def build(recipe: Recipe, dataset: Dataset) -> Any:
    """The untrained `keras.Model` of `recipe` for `dataset`; the caller compiles and fits it.

    Raises:
        UsageError: The recipe does not fit the data set.
    """
    if recipe.task != dataset.task:
        raise UsageError(
            f"recipe {recipe.name} is for {recipe.task}, and {dataset.name} is for {dataset.task}"
        )
    return recipe.build(dataset.item_shape, dataset.item_dtype, dataset.output_count)
