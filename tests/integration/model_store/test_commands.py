"""`fornada models`, from publishing a file to deleting its version, on a real store."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from fornada.commands import router
from fornada.storage.s3.store import S3ObjectStore
from model_store.engines import keras_setup
from model_store.store import ModelStore
from model_store.testing import publish_for_test

_Run = Callable[..., tuple[int, str, str]]
_WRONG = [
    (("delete", "m"), "'m' does not name a version by its number"),
    (("promote", "m", "1", "--alias", "prod"), "no model 'm'"),
    (("promote", "m", "0", "--alias", "prod"), "0 is not in the range"),
    (("promote", "m", "1", "--alias", "a/b"), "alias 'a/b' is not a valid name"),
    (("promote", "m", "1", "--alias", "a", "--gate", "x"), "gate 'x' is not METRIC"),
    (("rollback", "m", "--alias", "prod"), "no model 'm'"),
    (("publish", "m.h5", "--name", "m"), "run: fornada models convert m.h5 m.keras"),
    (("publish", "m.onnx", "--name", "m"), "m.onnx is not a .keras file"),
    (("convert", "m.h5", "new.h5"), "new.h5 does not end with .keras; name it new.keras"),
    (("publish", ".", "--name", "m"), ". is not a .keras file but a folder"),
    (("convert", "m.onnx", "new.keras"), "m.onnx is neither an .h5 file nor a SavedModel folder"),
    (("publish", "absent.keras", "--name", "m"), "absent.keras cannot be read"),
    (("publish", "absent.keras", "--name", "m", "--output", "x=y"), "is not NAME=KIND with KIND"),
    (("publish", "absent.keras", "--name", "m", "--image-size", "9"), "is not HEIGHTxWIDTH"),
    (("set-image", "m"), "nothing to change; give --resize"),
    (("set-image", "m", "--exif", "--promote", "@"), "alias '@' is not a valid name"),
    (("sign", "m:1", "--key", "absent.pem"), "the private key absent.pem cannot be read"),
]


@pytest.fixture
def run(
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> _Run:
    """`run("list")`: exit code, stdout and stderr of a command in a folder of its own."""
    for name, value in environ.items():
        if name.startswith("FORNADA_"):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def fornada(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            router.main(["models", *arguments])
        captured = capsys.readouterr()
        return int(str(ended.value.code or 0)), captured.out, captured.err

    return fornada


@pytest.fixture
def answer(run: _Run) -> Callable[..., Any]:
    """What a command prints with `--json`; it must succeed."""

    def answered(*arguments: str) -> Any:
        code, out, err = run(*arguments, "--json")
        assert (0, "") == (code, err)
        return json.loads(out)

    return answered


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with `model.keras`, `classes.json`, `golden.npy`, and a pair of keys."""
    keras = keras_setup.import_keras()
    keras.utils.set_random_seed(1)
    layers = [keras.Input((2,), dtype="uint8"), keras.layers.Dense(2, activation="softmax")]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    (tmp_path / "classes.json").write_text('["cat", "dog"]')
    np.save(tmp_path / "golden.npy", np.array([[1, 2], [3, 4]], np.uint8))
    key = Ed25519PrivateKey.generate()
    (tmp_path / "private.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (tmp_path / "public.pem").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return tmp_path


@pytest.mark.usefixtures("files")
def test_the_life_of_a_model(answer: Callable[..., Any], run: _Run, tmp_path: Path) -> None:
    # when two versions are published, the second one with every option
    assert "m:1" == answer("publish", "model.keras", "--name", "m")["model"]
    published = answer(
        *("publish", "model.keras", "--name", "m", "--classes", "classes.json"),
        *("--golden", "golden.npy", "--metric", "accuracy=0.9", "--sign-key", "private.pem"),
    )
    (taken,), (given,) = published["inputs"], published["outputs"]
    assert ("m:2", [2], "uint8") == (published["model"], taken["shape"], taken["dtype"])
    assert ("probabilities", ["cat", "dog"]) == (given["kind"], given["classes"])

    # then they differ in these options
    facts = {each["fact"] for each in answer("diff", "m:1", "m:2")["differences"]}
    golden = {"golden_inputs.sha256", "golden_outputs.sha256"}
    assert {"output.classes", "metrics.accuracy", *golden} == facts
    assert "accuracy" in run("diff", "m:1", "m:2")[1]

    # when they are promoted, then only through a gate that holds
    assert {"model": "m:1", "alias": "prod", "before": None} == answer(
        "promote", "m", "1", "--alias", "prod"
    )
    gate = ("promote", "m", "2", "--alias", "prod", "--gate")
    code, _, err = run(*gate, "accuracy>=0.95")
    assert (1, True) == (code, "m:2 is not promoted: accuracy is 0.9 and the gate is" in err)
    assert 1 == answer(*gate, "accuracy>=0.85")["before"]
    assert "m@prod is m:1 now, was m:2\n" == run("rollback", "m", "--alias", "prod")[1]
    shown = answer("show", "m@prod")
    assert [1, 2, 1] == [move["version"] for move in shown["alias_history"]["prod"]]
    assert "back to 1" in run("show", "m@prod")[1]
    (listed,) = answer("list")["models"]
    assert ([1, 2], {"prod": 1}) == (listed["versions"], listed["aliases"])

    # then only a version that nothing needs is deleted
    code, _, err = run("delete", "m:1")
    assert (2, True) == (code, "m:1 is what @prod points at" in err)
    assert 6 == answer("delete", "m:2")["objects"]
    assert [1] == answer("list")["models"][0]["versions"]

    # then the other is exported byte for byte
    answer("export", "m@prod", "--output", "copy")
    assert (tmp_path / "model.keras").read_bytes() == (tmp_path / "copy/model.keras").read_bytes()
    assert answer("verify", "m@prod")["ok"]
    code, _, err = run("report", "m@prod")
    assert (2, True) == (code, err.startswith("error: m:1 has no report; `fornada train` makes"))


def test_input_and_output_are_stated_at_publish_and_images_changed_later(
    answer: Callable[..., Any], run: _Run, tmp_path: Path
) -> None:
    # given a model of images of any size that ends in one sigmoid
    keras = keras_setup.import_keras()
    layers = keras.layers
    taken = keras.Input((None, None, 3), name="photo")
    hidden = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(taken))
    keras.Model(taken, layers.Dense(1, "sigmoid", name="cat")(hidden)).save(tmp_path / "m.keras")

    # when it is published as it is, and with everything stated
    code, out, _ = run("publish", "m.keras", "--name", "open")
    answer(
        *("publish", "m.keras", "--name", "m", "--output", "cat=binary", "--threshold", "0.3"),
        *("--image-size", "32x48", "--resize", "crop", "--like", "load_img", "--exif"),
    )

    # then each says what it takes and gives
    assert 0 == code
    assert "it takes photo: float32 [null, null, 3]" in out
    assert "it gives cat: the probability of 1 against 0, threshold 0.5; override with" in out
    shown = run("show", "m")[1]
    assert "photo: float32 [32, 48, 3]" in shown
    assert "rgb like load_img, crop, nearest, turned as EXIF says" in shown
    assert "threshold 0.3" in shown

    # when images are to become items in another way, then there is a new version of the same bytes
    before = answer("show", "m:1")["manifest"]
    changed = answer("set-image", "m", "--resize", "pad", "--no-exif", "--promote", "prod")
    (difference, other) = answer("diff", "m:1", "m@prod")["differences"]
    assert ("m:2", before["artifact"]["sha256"]) == (changed["model"], changed["digest"])
    assert ("input.image.resize", "crop", "pad") == (
        difference["fact"],
        difference["first"],
        difference["second"],
    )
    assert "input.image.exif" == other["fact"]
    assert answer("verify", "m:2")["ok"]
    code, _, err = run("set-image", "open", "--image-size", "224x224")
    assert (2, True) == (code, "publish the model again with that size" in err)


@pytest.mark.usefixtures("files")
def test_unsigned_and_changed_versions_fail_verification(
    run: _Run, answer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, rclone_objects: Any
) -> None:
    # given a process that accepts one key only
    artifact = answer("publish", "model.keras", "--name", "m")["artifact"]
    monkeypatch.setenv("FORNADA_MODEL_PUBLIC_KEY", "public.pem")
    code, _, err = run("verify", "m")
    assert (1, True) == (code, "m:1 is not signed with the key" in err)

    # when
    signed = answer("sign", "m:1", "--key", "private.pem")

    # then
    assert answer("verify", "m")["ok"]
    assert 64 == len(signed["key_id"])
    rclone_objects.put(artifact, b"other")
    code, out, _ = run("verify", "m", "--json")
    assert (1, False) == (code, json.loads(out)["ok"])


def test_a_wrong_call_is_one_line_and_exits_2(run: _Run) -> None:
    for arguments, fact in _WRONG:
        code, out, err = run(*arguments)

        assert (2, "") == (code, out), arguments
        assert fact in err
        assert "Traceback" not in err


def test_models_that_cannot_be_read_are_listed_as_such_beside_the_others(
    run: _Run, answer: Callable[..., Any], rclone_objects: S3ObjectStore
) -> None:
    # given
    publish_for_test(ModelStore(objects=rclone_objects), item_shape=[4], classes=["a"])
    manifest = rclone_objects.get("models/m/1/manifest.json").data
    for key, data in {
        "models/junk/1/manifest.json": b"junk",
        "models/copied/1/manifest.json": manifest,
        "models/moved/1/manifest.json": manifest.replace(b'"name":"m"', b'"name":"moved"'),
        "models/moved/aliases/prod/00000001.json": b"junk",
        # No name of a model.
        "models/.trash/1/manifest.json": b"junk",
    }.items():
        rclone_objects.put(key, data)

    # when
    models = {model["name"]: model for model in answer("list")["models"]}
    code, out, err = run("list")

    # then
    assert {"m", "junk", "copied", "moved"} == models.keys()
    assert [1] == models["m"]["versions"]
    assert "has the manifest of m:1" in models["copied"]["error"]
    for name in ("junk", "moved"):
        assert f"models/{name}/" in models[name]["error"]
    assert (0, "") == (code, err)
    assert 3 == out.count("cannot be read: ")
