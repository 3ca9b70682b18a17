"""Tampered Keras models are refused before Keras sees them."""

import importlib
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fornada.errors import ConfigError, ModelRefusedError
from model_store.engines import keras_file, keras_setup

#: A layer that would run the bytecode in its configuration.
_CODE = {"class_name": "__lambda__", "config": {"code": "4wEAAA==", "defaults": None}}
_LAMBDA = {"module": "keras.layers", "class_name": "Lambda", "registered_name": None}
_Tamper = Callable[[dict[str, bytes]], None]
_LAYERS = """
import keras

@keras.saving.register_keras_serializable("shop")
class Twice(keras.layers.Layer):
    def call(self, items):
        return items * 2

class Thrice(keras.layers.Layer):
    def call(self, items):
        return items * 3

@keras.saving.register_keras_serializable("evil")
class Other(keras.layers.Layer):
    def call(self, items):
        return items * 0

NOT_A_CLASS = 1
"""


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_setup.import_keras()


@pytest.fixture(scope="module")
def plain(keras: Any) -> bytes:
    """A harmless model, as Keras writes it."""
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2, activation="softmax")]
    )
    return keras_file.dump_model(model)


@pytest.fixture
def keras_is_not_asked(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if Keras is given a file."""

    def load(*_arguments: Any, **_options: Any) -> None:
        pytest.fail("the file reached Keras")

    for name in ("deserialize_keras_object", "load_model"):
        monkeypatch.setattr(keras.saving, name, load)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keras: Any) -> Iterator[Any]:
    """A package of custom layers."""
    (tmp_path / "shop_layers.py").write_text(_LAYERS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("shop_layers")
    del sys.modules["shop_layers"]
    for name in ("shop>Twice", "evil>Other"):
        keras.saving.get_custom_objects().pop(name, None)


def _tampered(artifact: bytes, tamper: _Tamper) -> bytes:
    with zipfile.ZipFile(io.BytesIO(artifact)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    tamper(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _layer(module: str | None, name: str, config: Any, registered: str | None = None) -> _Tamper:
    """Insert this layer before the last one."""

    def tamper(members: dict[str, bytes]) -> None:
        model = json.loads(members["config.json"])
        model["config"]["layers"].insert(
            -1,
            {
                "module": module,
                "class_name": name,
                "config": config,
                "registered_name": registered,
            },
        )
        members["config.json"] = json.dumps(model).encode()

    return tamper


def _activation(module: str, name: str) -> _Tamper:
    """Have the first Dense call this function."""

    def tamper(members: dict[str, bytes]) -> None:
        model = json.loads(members["config.json"])
        model["config"]["layers"][1]["config"]["activation"] = {
            "module": module,
            "class_name": "function",
            "config": name,
            "registered_name": "function",
        }
        members["config.json"] = json.dumps(model).encode()

    return tamper


def _units(units: int) -> _Tamper:
    def tamper(members: dict[str, bytes]) -> None:
        model = json.loads(members["config.json"])
        model["config"]["layers"][1]["config"]["units"] = units
        members["config.json"] = json.dumps(model).encode()

    return tamper


def _weights(write: Callable[[h5py.File], object]) -> _Tamper:
    """Change the weights file of the first Dense."""

    def tamper(members: dict[str, bytes]) -> None:
        buffer = io.BytesIO(members["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            del file["layers/dense/vars/0"]
            write(file)
        members["model.weights.h5"] = buffer.getvalue()

    return tamper


def _member(name: str) -> _Tamper:
    return lambda members: members.update({name: b"evil"})


@pytest.mark.usefixtures("keras_is_not_asked")
@pytest.mark.parametrize(
    ("tamper", "fact"),
    [
        pytest.param(_activation("os", "system"), "uses os.function", id="CVE-2025-1550"),
        pytest.param(
            _layer("keras.utils", "get_file", {"origin": "http://127.0.0.1/x"}),
            "uses keras.utils.get_file",
            id="CVE-2025-8747",
        ),
        pytest.param(
            _layer("keras.config", "enable_unsafe_deserialization", {}),
            "uses keras.config.enable_unsafe_deserialization",
            id="CVE-2025-9906",
        ),
        pytest.param(
            _layer("keras.layers", "TorchModuleWrapper", {"module": "gASVAAAA"}),
            "uses keras.layers.TorchModuleWrapper",
            id="CVE-2025-49655",
        ),
        pytest.param(
            _layer("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}),
            "uses keras.layers.StringLookup with the vocabulary in '/etc/passwd', outside the file",
            id="CVE-2025-12058",
        ),
        pytest.param(
            _member("assets/../../../evil"), "holds 'assets/../../../evil'", id="CVE-2025-12060"
        ),
        pytest.param(
            _weights(
                lambda file: file.create_dataset(
                    "layers/dense/vars/0", (2**36,), "f4", chunks=(2**20,), compression="gzip"
                )
            ),
            "declares 2748779",
            id="CVE-2026-0897",
        ),
        pytest.param(
            _weights(
                lambda file: file.create_dataset(
                    "layers/dense/vars/0", (4, 3), "f4", external=[("/etc/passwd", 0, 48)]
                )
            ),
            "keeps weights in another file",
            id="CVE-2026-1669",
        ),
        pytest.param(
            _weights(
                lambda file: file.__setitem__(
                    "layers/dense/vars/0", h5py.ExternalLink("/etc/other.h5", "/0")
                )
            ),
            "link to elsewhere",
            id="external link",
        ),
        pytest.param(
            _layer("keras.layers", "TFSMLayer", {"filepath": "/tmp/saved_model"}),
            "uses keras.layers.TFSMLayer",
            id="CVE-2026-1462",
        ),
        pytest.param(
            _layer(
                "keras.layers",
                "TimeDistributed",
                {"layer": {**_LAMBDA, "config": {"function": _CODE, "safe_mode": None}}},
            ),
            "uses keras.layers.Lambda, which is refused: it carries code",
            id="CVE-2026-12481",
        ),
        pytest.param(_member("../../evil"), "holds '../../evil'", id="GHSA-hqp4-2352-xf5r"),
        pytest.param(_member("variables/variables.index"), "holds 'variables/", id="SavedModel"),
        pytest.param(
            _units(10**12), "has a Dense of {'units': 1000000000000}, and only 23", id="absurd size"
        ),
    ],
)
def test_a_tampered_model_never_reaches_keras(plain: bytes, tamper: _Tamper, fact: str) -> None:
    evil = _tampered(plain, tamper)

    with pytest.raises(ModelRefusedError) as refusal:
        keras_file.load_model(evil, where="the artifact")

    assert fact in str(refusal.value)


@pytest.mark.usefixtures("keras_is_not_asked")
def test_the_code_of_a_lambda_does_not_run(keras: Any, tmp_path: Path) -> None:
    # given code that leaves a trace, saved by Keras itself, as in CVE-2024-3660
    trace = str(tmp_path / "trace")

    def leave_trace(items: Any) -> Any:
        with open(trace, "w"):  # noqa: PTH123 - its bytecode must need no import
            return items

    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(leave_trace)])
    artifact = keras_file.dump_model(model)
    Path(trace).unlink()

    # then
    with pytest.raises(ModelRefusedError, match=r"uses keras\.layers\.Lambda"):
        keras_file.load_model(artifact, where="the artifact")
    assert not Path(trace).exists()


@pytest.mark.usefixtures("keras_is_not_asked")
@pytest.mark.filterwarnings("ignore")
def test_an_h5_file_is_refused_under_any_name(keras: Any, tmp_path: Path) -> None:
    # given the format that ignores safe_mode, as in CVE-2025-9905
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.save(tmp_path / "model.h5")

    with pytest.raises(ModelRefusedError, match=r"not a readable \.keras"):
        keras_file.load_model((tmp_path / "model.h5").read_bytes(), where="the artifact")


@pytest.mark.parametrize("name", ["Twice", "Thrice"])
def test_a_custom_layer_is_loaded_only_where_it_is_allowed(
    keras: Any, shop: Any, name: str
) -> None:
    # given
    model = keras.Sequential([keras.Input((2,)), getattr(shop, name)(), keras.layers.Dense(1)])
    artifact = keras_file.dump_model(model)

    # when
    with pytest.raises(ModelRefusedError):
        keras_file.load_model(artifact, where="the artifact")
    with pytest.raises(ModelRefusedError):
        keras_file.load_model(artifact, where="it", allowed_objects={"shop_layers:Other"})
    loaded = keras_file.load_model(
        artifact, where="the artifact", allowed_objects={f"shop_layers:{name}"}
    )

    # then
    items = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(np.asarray(model(items)), np.asarray(loaded(items)))


@pytest.mark.usefixtures("shop")
def test_an_allowed_layer_cannot_stand_for_another_registered_one(plain: bytes) -> None:
    # given a file that registers an allowed class under the name of another
    evil = _tampered(plain, _layer("shop_layers", "Twice", {}, "evil>Other"))

    with pytest.raises(ModelRefusedError, match="registers shop_layers:Twice as 'evil>Other'"):
        keras_file.load_model(evil, where="it", allowed_objects={"shop_layers:Twice"})


@pytest.mark.usefixtures("shop")
def test_two_allowed_objects_under_one_name_are_refused(plain: bytes) -> None:
    evil = _tampered(plain, _layer("shop_layers", "Twice", {}, "Twice"))
    evil = _tampered(evil, _layer("shop_layers.sub", "Twice", {}, "Twice"))

    with pytest.raises(ModelRefusedError, match="registers two classes as 'Twice'"):
        keras_file.load_model(
            evil, where="it", allowed_objects={"shop_layers:Twice", "shop_layers.sub:Twice"}
        )


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("module", "name", "fact"),
    [
        ("no_such_package", "Layer", "cannot be imported"),
        ("shop_layers", "Absent", "cannot be imported"),
        ("shop_layers", "NOT_A_CLASS", "is not a class or function"),
    ],
)
def test_an_allowed_layer_that_cannot_be_imported_is_a_config_error(
    plain: bytes, module: str, name: str, fact: str
) -> None:
    artifact = _tampered(plain, _layer(module, name, {}, name))

    with pytest.raises(ConfigError, match=fact):
        keras_file.load_model(artifact, where="it", allowed_objects={f"{module}:{name}"})
