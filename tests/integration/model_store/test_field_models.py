"""Models that people have: what they take and give is read right, and given as by Keras."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.formats.rows import Rows
from fornada.storage.memory import InMemoryObjectStore
from model_store.engines import keras_setup
from model_store.engines.keras_file import dump_model, load_model
from model_store.engines.keras_predict import compile_predict
from model_store.engines.keras_setup import call_model
from model_store.publishing.file import publish_file
from model_store.store import ModelStore

from ...walls import no_wall

#: Beside the checkout, where this project keeps what people of its field have.
_ZOO = Path(__file__).parents[4] / "shared" / "field" / "zoo.py"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not _ZOO.exists(), reason="the models are not here")
def test_each_is_published_and_gives_what_keras_gives() -> None:
    keras = keras_setup.import_keras()
    zoo = _zoo()
    models = ModelStore(objects=InMemoryObjectStore(), open_wall=no_wall)
    for name, make in zoo.CASES.items():
        # Of other weights, one in twenty networks divides by zero for some item.
        keras.utils.set_random_seed(1)
        model, given = make()
        items = given if isinstance(given, dict) else {"": given}
        manifest = publish_file(dump_model(model), where=name, name="m", models=models)

        takes, gives = manifest.inputs, manifest.outputs
        arrays = [np.asarray(items.get(tensor.name, given)) for tensor in takes]
        texts = [tensor.dtype == "string" for tensor in takes]
        assert len(items) == len(takes), name
        assert [str(array.dtype) for array in arrays if array.dtype.kind != "U"] == [
            tensor.dtype for tensor in takes if tensor.dtype != "string"
        ], name
        kinds = zoo.KIND[name]
        found_kinds: Any = {tensor.name: tensor.kind for tensor in gives}
        if not isinstance(kinds, dict):
            found_kinds = list(found_kinds.values())
            kinds = kinds if isinstance(kinds, list) else [kinds]
        assert kinds == found_kinds, name

        rows = Rows(*map(_encoded, arrays))
        loaded = load_model(models.fetch(manifest.artifact), where=name)
        predict = compile_predict(loaded, tile_items=len(rows), takes=takes, gives=gives)
        found = predict(rows).arrays
        tensors = [
            keras.ops.convert_to_tensor(array.tolist() if is_text else array)
            for array, is_text in zip(arrays, texts, strict=True)
        ]
        for one, other in zip(found, call_model(model, tensors), strict=True):
            np.testing.assert_allclose(one, np.asarray(other), rtol=2e-5, atol=2e-5, err_msg=name)


def _encoded(array: Any) -> Any:
    if array.dtype.kind != "U":
        return array
    texts = np.empty(array.size, object)
    texts[:] = [text.encode() for text in array.ravel().tolist()]
    return texts.reshape(array.shape)


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
