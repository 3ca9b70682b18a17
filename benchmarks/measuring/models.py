"""The models of the workloads, and made-up items for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.photos import tensors as photo_tensors
from benchmarks.photos.workloads import SIDES
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, OutputTensor, unnamed_tensors
from trainer.recipes.networks import mlp

_SEED = 1
#: Standard deviation of the noise that stands for training.
_TRAINED = 0.01
#: Values of a column of codes.
_CODE_COUNT = 12
_PHOTO = (224, 224, 3)


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a model takes and gives, and how Keras makes it."""

    inputs: Sequence[InputTensor]
    outputs: Sequence[OutputTensor]
    network: Callable[[Any], Any]

    def make(self, keras: Any) -> Any:
        """The network, with weights as after training."""
        keras.utils.set_random_seed(_SEED)
        model = self.network(keras)
        rng = np.random.default_rng(_SEED)
        for weight in model.weights:
            # Engines may leave out a bias of zero.
            weight.assign_add(rng.normal(0, _TRAINED, weight.shape))
        return model

    def items(self, count: int) -> Rows:
        """Noise: an array [count, *item_shape] for each input."""
        rng = np.random.default_rng(_SEED)
        return Rows(*(_noise(rng, tensor, (count, *tensor.fixed_shape)) for tensor in self.inputs))


def _noise(rng: np.random.Generator, tensor: InputTensor, shape: tuple[int, ...]) -> Any:
    if tensor.dtype == "uint8":
        return rng.integers(0, 256, shape, np.uint8)
    if tensor.dtype == "int32":
        return rng.integers(0, _CODE_COUNT, shape, np.int32)
    return rng.random(shape, np.float32)


def _of_images(
    network: Callable[[Any], Any], *, item_shape: tuple[int, ...], class_count: int
) -> Model:
    classes = [str(number) for number in range(class_count)]
    takes, gives = unnamed_tensors(item_shape=item_shape, item_dtype="uint8", classes=classes)
    return Model(inputs=[takes], outputs=[gives], network=network)


def _mlp(_keras: Any) -> Any:
    """The trainer's Fashion-MNIST recipe, untrained: the cost is the same."""
    return mlp((28, 28), "uint8", 10, "softmax")


def cnn(keras: Any, *, input_name: str = "pixels", dtype: str = "uint8") -> Any:
    """The CIFAR-10 network of TensorFlow's tutorial: 4.5 million multiplications per image."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 3), dtype=dtype, name=input_name),
            layers.Rescaling(1 / 255, name="scale"),
            layers.Conv2D(32, 3, activation="relu", name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(64, 3, activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool2"),
            layers.Conv2D(64, 3, activation="relu", name="conv3"),
            layers.Flatten(name="flatten"),
            layers.Dense(64, activation="relu", name="hidden"),
            layers.Dense(10, activation="softmax", name="probabilities"),
        ],
        name="cnn",
    )


def _resnet(keras: Any) -> Any:
    """ResNet50 of `keras.applications`, untrained: 3.9 billion multiplications per image."""
    pixels = keras.Input(_PHOTO, dtype="uint8", name="pixels")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(pixels)
    return keras.applications.ResNet50(weights=None, input_tensor=scaled)


def _table(keras: Any) -> Any:
    """Numbers as they are, codes through embeddings, two hidden layers."""
    layers = keras.layers
    taken = [
        keras.Input((1,), dtype=tensor.dtype, name=tensor.name) for tensor in MODELS["table"].inputs
    ]
    vectors = [
        layers.Flatten()(layers.Embedding(_CODE_COUNT, 4)(one)) if one.dtype == "int32" else one
        for one in taken
    ]
    hidden = layers.Dense(64, activation="relu")(layers.Concatenate()(vectors))
    hidden = layers.Dense(32, activation="relu")(hidden)
    return keras.Model(taken, layers.Dense(3, activation="softmax")(hidden), name="table")


def _empty(keras: Any) -> Any:
    """Almost no computation: one pixel, scaled."""
    layers = [
        keras.Input((1,), dtype="uint8", name="pixels"),
        keras.layers.Rescaling(1 / 255, name="scale"),
    ]
    return keras.Sequential(layers, name="empty")


_NUMBERS = [InputTensor(name=f"number{n}", dtype="float32", shape=[1]) for n in range(8)]
_CODES = [InputTensor(name=f"code{n}", dtype="int32", shape=[1]) for n in range(4)]

#: Those with made-up items; `benchmarks.photos` has the others.
MODELS = {
    "mlp": _of_images(_mlp, item_shape=(28, 28), class_count=10),
    "cnn": _of_images(cnn, item_shape=(32, 32, 3), class_count=10),
    "resnet": _of_images(_resnet, item_shape=_PHOTO, class_count=1000),
    "table": Model(
        inputs=[*_NUMBERS, *_CODES],
        outputs=[
            OutputTensor(
                name="outputs", shape=[3], kind="probabilities", classes=["no", "maybe", "yes"]
            )
        ],
        network=_table,
    ),
    "empty": _of_images(_empty, item_shape=(1,), class_count=1),
}


def tensors_of(name: str) -> tuple[list[InputTensor], list[OutputTensor]]:
    """What a model takes and gives, those of photographs among them."""
    if name in SIDES:
        taken, given = photo_tensors.tensors_of(name)
        return [taken], [given]
    return list(MODELS[name].inputs), list(MODELS[name].outputs)
