"""Models that people have: what they take and give is read right, or what is missing is said."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from fornada.errors import ModelRefusedError
from fornada.storage.memory import InMemoryObjectStore
from model_store.engines import keras_setup
from model_store.engines.keras_file import dump_model
from model_store.publishing.file import publish_file
from model_store.store import ModelStore

from ...walls import no_wall

#: Beside the checkout, where this project keeps what people of its field have.
_ZOO = Path(__file__).parents[4] / "shared" / "field" / "zoo.py"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not _ZOO.exists(), reason="the models are not here")
def test_each_is_published_as_it_is_or_refused_with_what_is_not_there_yet() -> None:
    keras_setup.import_keras()
    zoo = _zoo()
    models = ModelStore(objects=InMemoryObjectStore(), open_wall=no_wall)
    several = 0
    for name, make in zoo.CASES.items():
        kind = zoo.KIND[name]
        model, items = make()
        one_vector = not isinstance(items, dict) and kind != "tensor"
        data = dump_model(model)
        if one_vector and isinstance(kind, str):
            manifest = publish_file(data, where=name, name="m", models=models)

            assert (kind, list(items.shape[1:])) == (
                manifest.output.kind,
                [
                    own if side is None else side
                    for own, side in zip(items.shape[1:], manifest.input.shape, strict=True)
                ],
            ), name
            assert str(items.dtype) == manifest.input.dtype
        else:
            several += 1
            with pytest.raises(ModelRefusedError, match=f"{name} .*not supported yet"):
                publish_file(data, where=name, name="m", models=models)
    assert several == len(zoo.CASES) - 18


def _zoo() -> Any:
    spec = importlib.util.spec_from_file_location("zoo", _ZOO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = dict(os.environ)
    spec.loader.exec_module(module)
    os.environ.clear()
    os.environ.update(before)
    return module
