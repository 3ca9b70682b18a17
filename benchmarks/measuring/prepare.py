"""Make models, images and what `keras predict` says of them; a process of its own, for TensorFlow.

`python -m benchmarks.measuring.prepare FOLDER MODEL=IMAGES …`
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workloads import Sizes
from fornada.tensors import InputTensor, OutputTensor, unnamed_tensors
from model_store.engines import keras_file, keras_setup
from model_store.wall.limits import WallLimits
from model_store.wall.messages import Check, Passed
from model_store.wall.process import WallProcess
from trainer.recipes.networks import mlp

_ROOT = Path(__file__).parents[2]
_SEED = 1
#: Standard deviation of the noise that stands for training.
_TRAINED = 0.01
#: Size of the golden batches, and the least number of images per model.
GOLDEN_ITEMS = 32
_BATCH_SIZE = 4096
ITEM_SHAPES = {"mlp": (28, 28), "cnn": (32, 32, 3), "empty": (1,)}
CLASS_COUNTS = {"mlp": 10, "cnn": 10, "empty": 1}


def prepared(sizes: Sizes, *, cache: Path) -> Path:
    """A folder with models, images and references for these sizes; created once."""
    counts = {model: max(GOLDEN_ITEMS, sizes.images(model)) for model in ITEM_SHAPES}
    name = "-".join(
        f"{model}{count}" for model, count in {**counts, "photos": sizes.photos}.items()
    )
    folder = cache / "prepared" / name
    if not (folder / "checked").exists():
        print("creating models, images and the outputs of keras predict", flush=True)
        arguments = [f"{model}={count}" for model, count in counts.items()]
        subprocess.run(
            [sys.executable, "-m", "benchmarks.measuring.prepare", str(folder), *arguments],
            check=True,
            cwd=_ROOT,
            stdout=subprocess.DEVNULL,
        )
        if sizes.photos:
            module = [sys.executable, "-m", "benchmarks.photos.preparing"]
            subprocess.run(
                [*module, str(folder), str(sizes.photos)],
                check=True,
                cwd=_ROOT,
                stdout=subprocess.DEVNULL,
            )
        (folder / "checked").touch()
    return folder


def tensors_of(model: str) -> tuple[InputTensor, OutputTensor]:
    """What the model takes and gives."""
    return unnamed_tensors(
        item_shape=ITEM_SHAPES[model],
        item_dtype="uint8",
        classes=[str(number) for number in range(CLASS_COUNTS[model])],
    )


def main() -> None:
    """Write a model, its images, the reference, and what the wall found, for each model."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for argument in sys.argv[2:]:
        model, _, count = argument.partition("=")
        _write(folder, model, int(count))


def _write(folder: Path, name: str, count: int) -> None:
    keras = keras_setup.import_keras()
    keras.utils.set_random_seed(_SEED)
    model = _MAKERS[name](keras)
    rng = np.random.default_rng(_SEED)
    for weight in model.weights:
        # As after training: engines may leave out a bias of zero.
        weight.assign_add(rng.normal(0, _TRAINED, weight.shape))
    images = rng.integers(0, 256, (count, *ITEM_SHAPES[name]), np.uint8)
    (folder / f"{name}.keras").write_bytes(keras_file.dump_model(model))
    np.save(folder / f"{name}.npy", images)
    reference = model.predict(images, _BATCH_SIZE, verbose=0)
    np.save(folder / f"{name}-reference.npy", reference)
    np.save(folder / f"{name}-golden-inputs.npy", images[:GOLDEN_ITEMS])
    np.save(folder / f"{name}-golden-outputs.npy", reference[:GOLDEN_ITEMS])
    found = passed(folder, name, tensors_of(name))
    (folder / f"{name}-passed.json").write_bytes(found.to_json())


def passed(folder: Path, name: str, tensors: tuple[InputTensor, OutputTensor]) -> Passed:
    """What every publisher asks, and so every deployment has."""
    artifact, (takes, gives) = folder / f"{name}.keras", tensors
    with WallProcess(WallLimits.of_artifact(artifact.stat().st_size)) as wall:
        return wall.check(
            Check(
                artifact=str(artifact.absolute()),
                where=name,
                allowed_objects=[],
                engine="keras",
                inputs=[takes],
                outputs=[gives],
                golden_inputs=str((folder / f"{name}-golden-inputs.npy").absolute()),
                golden_outputs=str((folder / f"{name}-golden-outputs.npy").absolute()),
            )
        )


def _mlp(_keras: Any) -> Any:
    """The trainer's Fashion-MNIST recipe, untrained: the cost is the same."""
    return mlp(ITEM_SHAPES["mlp"], "uint8", CLASS_COUNTS["mlp"], "softmax")


def cnn(keras: Any, *, input_name: str = "pixels", dtype: str = "uint8") -> Any:
    """The CIFAR-10 network of TensorFlow's tutorial: 4.5 million multiplications per image."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(ITEM_SHAPES["cnn"], dtype=dtype, name=input_name),
            layers.Rescaling(1 / 255, name="scale"),
            layers.Conv2D(32, 3, activation="relu", name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(64, 3, activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool2"),
            layers.Conv2D(64, 3, activation="relu", name="conv3"),
            layers.Flatten(name="flatten"),
            layers.Dense(64, activation="relu", name="hidden"),
            layers.Dense(CLASS_COUNTS["cnn"], activation="softmax", name="probabilities"),
        ],
        name="cnn",
    )


def _empty(keras: Any) -> Any:
    """Almost no computation: one pixel, scaled."""
    layers = [
        keras.Input(ITEM_SHAPES["empty"], dtype="uint8", name="pixels"),
        keras.layers.Rescaling(1 / 255, name="scale"),
    ]
    return keras.Sequential(layers, name="empty")


_MAKERS: dict[str, Callable[[Any], Any]] = {"mlp": _mlp, "cnn": cnn, "empty": _empty}


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
