"""Recipes by name: a network, and the defaults it is trained with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fornada.errors import UsageError
from fornada.tensors import Dtype
from model_store.engines.keras_setup import import_keras
from trainer.data.dataset import Dataset, TargetKind
from trainer.recipes import networks, tables, texts

#: Data set and activation of the outputs → `keras.Model`, neither trained nor compiled, whose
#: preprocessing has seen the training items.
Build = Callable[[Dataset, str | None], Any]
#: Item shape, item dtype, number of outputs and their activation → the same.
_Network = Callable[[Sequence[int], Dtype, int, str | None], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """What a model of a kind ends in, and how its outputs are compared with the targets."""

    activation: str | None
    #: Keras's name, as those of the metrics.
    loss: str
    metrics: tuple[str, ...] = ("accuracy",)


OBJECTIVES: Mapping[TargetKind, Objective] = {
    "probabilities": Objective(activation="softmax", loss="sparse_categorical_crossentropy"),
    "binary": Objective(activation="sigmoid", loss="binary_crossentropy"),
    "multilabel": Objective(activation="sigmoid", loss="binary_crossentropy"),
    "values": Objective(
        activation=None, loss="mean_squared_error", metrics=("mean_absolute_error",)
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A network, and how it is trained by default."""

    name: str
    #: Raises UsageError for items that do not fit the network.
    build: Build
    #: Whether it predicts values, not classes.
    of_values: bool = False
    #: Keras's name.
    optimizer: str = "adam"
    learning_rate: float = 0.001
    epochs: int
    batch_size: int


def _of_arrays(network: _Network) -> Build:
    """Builds a network of one input of a fixed shape."""

    def build(dataset: Dataset, activation: str | None) -> Any:
        model = network(dataset.item_shape, dataset.item_dtype, dataset.output_count, activation)
        networks.adapt(model, dataset.train_items)
        return model

    return build


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="mlp", build=_of_arrays(networks.mlp), epochs=5, batch_size=64),
        Recipe(name="cnn", build=_of_arrays(networks.cnn), epochs=15, batch_size=64),
        Recipe(name="photos", build=_of_arrays(networks.photos), epochs=20, batch_size=32),
        # Few classes and many examples: after the third epoch it overfits.
        Recipe(name="sentiment", build=_of_arrays(networks.text), epochs=3, batch_size=64),
        Recipe(name="topics", build=_of_arrays(networks.text), epochs=15, batch_size=64),
        Recipe(name="vectors", build=_of_arrays(networks.vectors), epochs=30, batch_size=32),
        Recipe(
            name="regression",
            build=_of_arrays(networks.regression),
            of_values=True,
            epochs=100,
            batch_size=16,
        ),
        Recipe(name="texts", build=texts.texts, epochs=20, batch_size=32),
        Recipe(name="table", build=tables.table, epochs=30, batch_size=32),
        Recipe(
            name="table_regression", build=tables.table, of_values=True, epochs=30, batch_size=32
        ),
    )
}

#: Largest side of images that the networks for small ones take by default.
_SMALL_IMAGE = 64

#: Data sets whose recipe does not follow from their items.
_BY_DATASET = {"imdb": "sentiment"}


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        UsageError: No recipe has this name.
    """
    if name not in RECIPES:
        raise UsageError(f"there is no recipe {name!r}; choose from: {', '.join(RECIPES)}")
    return RECIPES[name]


def default_recipe(dataset: Dataset) -> Recipe:
    """The recipe for `dataset`: by its name, else by its kind and its items."""
    if dataset.name in _BY_DATASET:
        return RECIPES[_BY_DATASET[dataset.name]]
    if isinstance(dataset.train_items, Mapping):
        return RECIPES["table_regression" if dataset.kind == "values" else "table"]
    if dataset.kind == "values":
        return RECIPES["regression"]
    has_channels = len(dataset.item_shape) == 3  # noqa: PLR2004 - height, width, channels
    if dataset.item_dtype == "uint8" and max(dataset.item_shape[:2]) > _SMALL_IMAGE:
        return RECIPES["photos"]
    by_dtype = {
        "int32": "topics",
        "float32": "vectors",
        "string": "texts",
        "uint8": "cnn" if has_channels else "mlp",
    }
    return RECIPES[by_dtype[dataset.item_dtype]]


def build_model(recipe: Recipe, dataset: Dataset, *, seed: int) -> Any:
    """The untrained `keras.Model` of `recipe` for `dataset`; the caller compiles and fits it.

    Resets Keras's names and random state, as in a new process, so that the same training gives the
    same bytes.

    Raises:
        UsageError: The recipe is for other items or another kind of outputs.
    """
    if recipe.of_values != (dataset.kind == "values"):
        predicts = ("classes", "values") if dataset.kind == "values" else ("values", "classes")
        raise UsageError(
            f"recipe {recipe.name} predicts {predicts[0]}, but {dataset.name} has {predicts[1]}; "
            "choose another recipe"
        )
    keras = import_keras()
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    return recipe.build(dataset, OBJECTIVES[dataset.kind].activation)
