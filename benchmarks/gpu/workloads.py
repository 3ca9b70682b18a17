"""The networks and their inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring.models import cnn
from fornada.tensors import InputTensor, OutputTensor, unnamed_tensors
from model_store.engines.keras_setup import import_keras
from trainer.recipes.networks import mlp

_SEED = 1
#: Standard deviation of the noise that stands for training.
_TRAINED = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A network, and objects of images for it."""

    name: str
    network: str
    item_shape: tuple[int, ...]
    class_count: int
    make: Callable[[], Any]
    #: As FORNADA_ENGINE names it.
    engine: str
    #: Objects in the store, and images in each.
    object_count: int
    object_items: int
    #: Rows of a call that are tried in process.
    tiles: tuple[int, ...]

    @property
    def tensors(self) -> tuple[InputTensor, OutputTensor]:
        """What the network takes and gives."""
        return unnamed_tensors(
            item_shape=self.item_shape,
            item_dtype="uint8",
            classes=[str(number) for number in range(self.class_count)],
        )

    @property
    def label(self) -> str:
        """Its row in the table."""
        return f"{self.network}, objects of {self.object_items:,}"

    @property
    def image_count(self) -> int:
        """Images in all objects."""
        return self.object_count * self.object_items

    def images(self, count: int) -> NDArray[np.uint8]:
        """The same noise each time: uint8 [count, *item_shape]."""
        rng = np.random.default_rng(_SEED)
        return rng.integers(0, 256, (count, *self.item_shape), np.uint8)

    def write_model(self, path: Path) -> None:
        """Write the network as a `.keras` file; imports Keras on the backend of this process."""
        import_keras().utils.set_random_seed(_SEED)
        model, rng = self.make(), np.random.default_rng(_SEED)
        for weight in model.weights:
            # As after training: compilers may leave out a bias of zero.
            weight.assign(np.asarray(weight) + rng.normal(0, _TRAINED, weight.shape))
        model.save(path)


def _mlp() -> Any:
    return mlp((28, 28), "uint8", 10, "softmax")


def _cnn() -> Any:
    return cnn(import_keras())


def _resnet() -> Any:
    keras = import_keras()
    items = keras.Input((224, 224, 3), dtype="uint8", name="pixels")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(items)
    network = keras.applications.ResNet50(weights=None)
    return keras.Model(items, network(scaled), name="resnet")


FULL: Mapping[str, Workload] = {
    "mlp": Workload(
        name="mlp",
        network="28x28 network",
        item_shape=(28, 28),
        class_count=10,
        make=_mlp,
        engine="jax",
        object_count=240,
        object_items=10_000,
        tiles=(4096, 32_768, 65_536),
    ),
    "cnn": Workload(
        name="cnn",
        network="32x32x3 CNN",
        item_shape=(32, 32, 3),
        class_count=10,
        make=_cnn,
        engine="jax",
        object_count=240,
        object_items=1_000,
        tiles=(1024, 4096),
    ),
    "resnet": Workload(
        name="resnet",
        network="ResNet50, 224 px, bfloat16",
        item_shape=(224, 224, 3),
        class_count=1000,
        make=_resnet,
        engine="jax-bf16",
        object_count=60,
        object_items=256,
        tiles=(128, 256),
    ),
}

_SMALL: Mapping[str, Any] = {"object_count": 6, "object_items": 200, "tiles": (64, 256)}

#: Little work, as a check on a machine without a GPU; ResNet50 takes a CPU minutes.
QUICK: Mapping[str, Workload] = {name: replace(FULL[name], **_SMALL) for name in ("mlp", "cnn")}
