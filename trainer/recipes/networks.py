"""The networks of the recipes. Each takes raw items; preprocessing is part of the network.

Layers are named, so that the same training gives the same bytes. A network raises UsageError for
items that do not fit it.
"""

from collections.abc import Sequence
from typing import Any

from fornada.errors import UsageError
from fornada.tensors import Dtype
from model_store.engines.keras_setup import backend_here, import_keras
from trainer.data.dataset import UNKNOWN_TOKEN, VOCABULARY_SIZE

#: Axes of a grey image, and of one with channels.
_GREY, _COLOUR = 2, 3


def mlp(
    item_shape: Sequence[int],
    item_dtype: Dtype,
    output_count: int,
    activation: str | None = "softmax",
) -> Any:
    """TensorFlow's Fashion-MNIST network with a wider hidden layer and dropout; for small images.

    Scaling is a layer, so that callers send pixels as uint8, a quarter of the bytes.
    """
    _require(item_dtype == "uint8", "mlp", "pixels (uint8)", item_shape, item_dtype)
    keras = import_keras()
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(tuple(item_shape), dtype=item_dtype, name="pixels"),
            layers.Rescaling(1 / 255, name="scale"),
            layers.Flatten(name="flatten"),
            layers.Dense(256, activation="relu", name="hidden"),
            layers.Dropout(0.2, name="dropout"),
            layers.Dense(output_count, activation=activation, name="probabilities"),
        ],
        name="mlp",
    )


def cnn(
    item_shape: Sequence[int],
    item_dtype: Dtype,
    output_count: int,
    activation: str | None = "softmax",
) -> Any:
    """Three convolutions with pooling, as in TensorFlow's CIFAR tutorial but wider."""
    fits = item_dtype == "uint8" and len(item_shape) in {_GREY, _COLOUR}
    _require(fits, "cnn", "images (uint8 [height, width, channels])", item_shape, item_dtype)
    keras = import_keras()
    layers = keras.layers
    model = keras.Sequential(name="cnn")
    model.add(keras.Input(tuple(item_shape), dtype=item_dtype, name="pixels"))
    if len(item_shape) == _GREY:
        model.add(layers.Reshape((*item_shape, 1), name="channel"))
    model.add(layers.Rescaling(1 / 255, name="scale"))
    for number, filters in enumerate((32, 64, 128), start=1):
        name = f"conv{number}"
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu", name=name))
        # With padding, any size of image fits.
        model.add(layers.MaxPooling2D(padding="same", name=f"pool{number}"))
    model.add(layers.Flatten(name="flatten"))
    model.add(layers.Dropout(0.3, name="dropout1"))
    model.add(layers.Dense(128, activation="relu", name="hidden"))
    model.add(layers.Dropout(0.3, name="dropout2"))
    model.add(layers.Dense(output_count, activation=activation, name="probabilities"))
    return model


def photos(
    item_shape: Sequence[int],
    item_dtype: Dtype,
    output_count: int,
    activation: str | None = "softmax",
) -> Any:
    """Five convolutions that halve the image, and the mean of each filter; for images of any size.

    The mean keeps the number of parameters (0.6 million) independent of the size.
    """
    fits = item_dtype == "uint8" and len(item_shape) in {_GREY, _COLOUR}
    _require(fits, "photos", "images (uint8 [height, width, channels])", item_shape, item_dtype)
    keras = import_keras()
    layers = keras.layers
    model = keras.Sequential(name="photos")
    model.add(keras.Input(tuple(item_shape), dtype=item_dtype, name="pixels"))
    if len(item_shape) == _GREY:
        model.add(layers.Reshape((*item_shape, 1), name="channel"))
    model.add(layers.Rescaling(1 / 127.5, offset=-1, name="scale"))
    for number, filters in enumerate((24, 48, 96, 160, 256), start=1):
        name = f"conv{number}"
        model.add(
            layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu", name=name)
        )
    model.add(layers.GlobalAveragePooling2D(name="mean"))
    model.add(layers.Dropout(0.3, name="dropout"))
    model.add(layers.Dense(output_count, activation=activation, name="probabilities"))
    return model


def text(
    item_shape: Sequence[int],
    item_dtype: Dtype,
    output_count: int,
    activation: str | None = "softmax",
) -> Any:
    """Embedding, one convolution over five words, and the maximum of each filter.

    The position of a word does not count, so padding needs no mask. A token beyond the vocabulary
    becomes the unknown word: looking it up would fail the whole shard.
    """
    fits = item_dtype == "int32" and len(item_shape) == 1
    _require(fits, "text", "token sequences (int32 [tokens])", item_shape, item_dtype)
    keras = import_keras()
    layers, ops = keras.layers, keras.ops
    tokens = keras.Input(tuple(item_shape), dtype=item_dtype, name="tokens")
    known_tokens = ops.where(tokens < VOCABULARY_SIZE, ops.maximum(tokens, 0), UNKNOWN_TOKEN)
    words = layers.Embedding(VOCABULARY_SIZE, 64, name="embedding")(known_tokens)
    found = layers.Conv1D(128, 5, padding="same", activation="relu", name="conv")(words)
    strongest = layers.GlobalMaxPooling1D(name="pool")(found)
    kept = layers.Dropout(0.4, name="dropout")(strongest)
    outputs = layers.Dense(output_count, activation=activation, name="probabilities")(kept)
    return keras.Model(tokens, outputs, name="text")


def vectors(
    item_shape: Sequence[int],
    item_dtype: Dtype,
    output_count: int,
    activation: str | None = "softmax",
) -> Any:
    """Two hidden layers over standardised features; for classes."""
    keras = import_keras()
    outputs = keras.layers.Dense(output_count, activation=activation, name="probabilities")
    return _over_features(item_shape, item_dtype, outputs, name="vectors")


def regression(
    item_shape: Sequence[int],
    item_dtype: Dtype,
    output_count: int,
    activation: str | None = None,
) -> Any:
    """Two hidden layers over standardised features; for values."""
    outputs = import_keras().layers.Dense(output_count, activation=activation, name="values")
    return _over_features(item_shape, item_dtype, outputs, name="regression")


def adapt(model: Any, items: Any) -> None:
    """Fit normalisation layers to `items`, item dtype [items, *item_shape]."""
    normalization = import_keras().layers.Normalization
    for layer in model.layers:
        if isinstance(layer, normalization):
            layer.adapt(items)


def require_tensorflow(recipe: str) -> None:
    """Check that Keras runs on TensorFlow in this process.

    Raises:
        UsageError: It does not; a recipe that looks words up needs it.
    """
    backend = backend_here()
    if backend != "tensorflow":
        raise UsageError(
            f"the recipe {recipe} looks words up, which Keras does on TensorFlow and not on "
            f"{backend}; unset KERAS_BACKEND where TensorFlow is installed (pip install "
            "'fornada[train]')"
        )


def _over_features(item_shape: Sequence[int], item_dtype: Dtype, outputs: Any, *, name: str) -> Any:
    fits = item_dtype == "float32" and len(item_shape) == 1
    _require(fits, name, "vectors (float32 [features])", item_shape, item_dtype)
    keras = import_keras()
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(tuple(item_shape), dtype=item_dtype, name="features"),
            layers.Normalization(name="normalize"),
            layers.Dense(64, activation="relu", name="hidden1"),
            layers.Dense(64, activation="relu", name="hidden2"),
            outputs,
        ],
        name=name,
    )


def _require(
    fits: bool,  # noqa: FBT001 - the condition of a sentence
    network: str,
    takes: str,
    item_shape: Sequence[int],
    item_dtype: Dtype,
) -> None:
    if not fits:
        raise UsageError(
            f"the network {network} takes {takes}, but the items are {item_dtype} "
            f"{list(item_shape)}; choose another recipe"
        )
