"""The real wall around publishing: a file is loaded in another process alone."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fornada.errors import ConfigError
from fornada.storage.memory import InMemoryObjectStore
from model_store.engines import keras_file
from model_store.publishing.script import publish
from model_store.safety.trust import Trust
from model_store.store import ModelStore

_SHOP = """
import keras

@keras.saving.register_keras_serializable("walled")
class Thrice(keras.layers.Layer):
    def call(self, items):
        return items * 3
"""
_PUBLISH = """
import sys
from pathlib import Path
from fornada.storage.memory import InMemoryObjectStore
from fornada.trust.deployment_keys import DeploymentKeys
from model_store.publishing.file import publish_file
from model_store.safety.trust import Trust
from model_store.store import ModelStore

trust = Trust(
    allowed_objects=frozenset({"walled>Thrice=walled_layers:Thrice"}),
    deployment_keys=DeploymentKeys([b"k" * 32]),
)
models = ModelStore(objects=InMemoryObjectStore(), trust=trust)
manifest = publish_file(Path("model.keras"), where="model.keras", name="m", models=models)
imported = {"tensorflow", "keras", "walled_layers"} & set(sys.modules)
print(manifest, manifest.output.kind, models.verdicts.find(manifest).engine, imported)
"""


def test_a_file_and_allowed_code_are_loaded_behind_the_wall_alone(
    keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a file with code of one's own, from a module in the working directory
    (tmp_path / "walled_layers.py").write_text(_SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    from walled_layers import Thrice  # type: ignore[import-not-found]  # noqa: PLC0415 - made here

    model = keras.Sequential([keras.Input((2,)), Thrice(), keras.layers.Dense(3, "softmax")])
    keras_file.save_model(model, tmp_path / "model.keras")

    # when
    done = subprocess.run(
        [sys.executable, "-c", _PUBLISH], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    # then
    assert "" == done.stderr
    assert done.stdout.startswith("m:1 probabilities tensorflow 2.")
    assert done.stdout.endswith(" set()\n")


def test_code_that_is_only_in_a_notebook_cannot_be_published(keras: Any) -> None:
    # given a class that no worker could import, though it is allowed
    @keras.saving.register_keras_serializable("notebook")
    class Twice(keras.layers.Layer):  # type: ignore[misc, name-defined]  # Keras has no types
        def call(self, items: Any) -> Any:
            return items * 2

    vars(sys.modules["__main__"])["Twice"] = Twice
    model = keras.Sequential([keras.Input((2,)), Twice(), keras.layers.Dense(3)])
    trust = Trust(allowed_objects=frozenset({"notebook>Twice=__main__:Twice"}))
    models = ModelStore(objects=InMemoryObjectStore(), trust=trust)

    try:
        with pytest.raises(ConfigError, match="__main__:Twice, which cannot be imported"):
            publish(model, name="m", history={}, store=models)
    finally:
        del vars(sys.modules["__main__"])["Twice"]
        keras.saving.get_custom_objects().pop("notebook>Twice")

    assert [] == models.names()
