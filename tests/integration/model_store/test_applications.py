"""Every network of `keras.applications` is published, loaded again and predicts the same."""

import inspect
from typing import Any

import pytest

from fornada.storage.memory import InMemoryObjectStore
from model_store.engines import keras_file, keras_setup
from model_store.publishing.file import publish_file
from model_store.store import ModelStore

from ...walls import no_wall

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(1800),
]

_CLASSES = 3
#: The smallest of each family.
_FAMILIES = (
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
)
_OTHERS = (
    *(f"ConvNeXt{size}" for size in ("Small", "Base", "Large", "XLarge")),
    *("DenseNet169", "DenseNet201"),
    *(f"EfficientNetB{size}" for size in range(1, 8)),
    *(f"EfficientNetV2{size}" for size in ("B1", "B2", "B3", "L", "M", "S")),
    *("MobileNetV3Large", "NASNetLarge", "ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2"),
    "VGG19",
)
#: The smallest image that the constructors take.
_SIDES = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}


def _published(name: str) -> None:
    keras = keras_setup.import_keras()
    side = _SIDES.get(name, 32)
    models = ModelStore(objects=InMemoryObjectStore(), open_wall=no_wall)
    network = getattr(keras.applications, name)(
        weights=None, input_shape=(side, side, 3), classes=_CLASSES
    )

    # Publishing loads it twice, and compares what it gives.
    manifest = publish_file(
        keras_file.dump_model(network), where=name, name=name.lower(), models=models
    )

    assert ([side, side, 3], _CLASSES) == (manifest.input.shape, manifest.output.width)
    keras.backend.clear_session()


def test_every_constructor_is_in_a_list_here() -> None:
    applications = keras_setup.import_keras().applications
    constructors = {name for name, _ in inspect.getmembers(applications, inspect.isfunction)}

    assert constructors == {*_FAMILIES, *_OTHERS}


def test_a_network_is_published() -> None:
    _published("MobileNetV3Small")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in _FAMILIES if name != "MobileNetV3Small"])
def test_the_smallest_of_each_family_is_published(name: Any) -> None:
    _published(name)


@pytest.mark.soak
@pytest.mark.parametrize("name", _OTHERS)
def test_every_other_network_is_published(name: Any) -> None:
    _published(name)
