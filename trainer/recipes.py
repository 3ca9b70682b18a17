"""Network architectures by name, compiled and ready to fit."""

from collections.abc import Callable, Sequence
from typing import Any

from fornada.errors import UsageError
from model_store.keras_codec import import_keras


def mlp(item_shape: Sequence[int], class_count: int, learning_rate: float) -> Any:
    """TensorFlow's Fashion-MNIST network, with a little dropout; takes raw uint8 pixels.

    Scaling is a layer, so that callers send pixels as they are, at a quarter of the bytes.
    Layers and optimizer are named, so that the same training gives the same bytes.
    """
    keras = import_keras()
    layers = keras.layers
    return _compiled(
        keras.Sequential(
            [
                keras.Input(tuple(item_shape), dtype="uint8", name="pixels"),
                layers.Rescaling(1 / 255, name="scale"),
                layers.Flatten(name="flatten"),
                layers.Dense(256, activation="relu", name="hidden"),
                layers.Dropout(0.2, name="dropout"),
                layers.Dense(class_count, activation="softmax", name="probabilities"),
            ],
            name="mlp",
        ),
        learning_rate,
    )


#: Item shape, number of classes and learning rate → compiled `keras.Model`.
Recipe = Callable[[Sequence[int], int, float], Any]

RECIPES: dict[str, Recipe] = {"mlp": mlp}


def build(name: str, *, item_shape: Sequence[int], class_count: int, learning_rate: float) -> Any:
    """A compiled, untrained `keras.Model`.

    Raises:
        UsageError: No recipe has this name.
    """
    if name not in RECIPES:
        raise UsageError(f"no recipe is called {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name](item_shape, class_count, learning_rate)


def _compiled(model: Any, learning_rate: float) -> Any:
    model.compile(
        optimizer=import_keras().optimizers.Adam(learning_rate, name="adam"),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
