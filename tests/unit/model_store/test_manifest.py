"""References to models, and manifests of any version."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fornada.errors import MessageError, UsageError
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor
from model_store.manifest import ModelManifest, ModelRef

_OLD_STORE = Path(__file__).parents[2] / "old_stores" / "f0672dc.tar.xz"


def test_a_reference_is_parsed_and_printed_alike() -> None:
    references = {
        "m": ModelRef(name="m"),
        "fashion-mnist:12": ModelRef(name="fashion-mnist", version=12),
        "fashion-mnist@prod": ModelRef(name="fashion-mnist", alias="prod"),
    }
    for text, expected in references.items():
        assert expected == ModelRef.parse(text)
        assert text == str(expected)


def test_anything_else_is_refused() -> None:
    for text in ("", ":1", "m:", "m:x", "m:1@a", "m@", "../m", "m@a/b", ".m", "m n"):
        with pytest.raises(UsageError, match="is not a"):
            ModelRef.parse(text)


def _old_manifests() -> dict[str, bytes]:
    """The manifests of all models in a store that an old release wrote."""
    with tarfile.open(_OLD_STORE) as archive:
        return {
            name: (archive.extractfile(name) or io.BytesIO()).read()
            for name in archive.getnames()
            if name.startswith("models/") and name.endswith("/manifest.json")
        }


def _version_1(**facts: Any) -> bytes:
    plain = json.loads(next(iter(_old_manifests().values())))
    return json.dumps(plain | facts).encode()


def test_manifests_of_version_1_mean_what_they_meant() -> None:
    exact = ImagePreprocessing(resize="none", exif=True, like="exact")
    for facts, image, kind in (
        ({"item_shape": [2, 2, 3], "item_dtype": "uint8"}, exact, "probabilities"),
        (
            {"item_shape": [2, 2], "item_dtype": "float32"},
            exact.model_copy(update={"color": "grayscale"}),
            "probabilities",
        ),
        ({"item_shape": [8], "item_dtype": "int32", "task": "regression"}, None, "values"),
    ):
        data = _version_1(classes=["a", "b"], **facts)

        manifest = ModelManifest.from_json(data, where="it")

        taken = InputTensor(
            name="inputs", dtype=facts["item_dtype"], shape=facts["item_shape"], image=image
        )
        assert taken == manifest.input
        given = OutputTensor(name="outputs", shape=[2], kind=kind, classes=["a", "b"])  # type: ignore[arg-type]  # str
        assert given == manifest.output
        assert manifest == ModelManifest.from_json(manifest.to_json(), where="it")


def test_models_of_an_old_store_are_read() -> None:
    manifests = _old_manifests()

    for name, data in manifests.items():
        plain, manifest = json.loads(data), ModelManifest.from_json(data, where=name)

        assert (plain["item_shape"], plain["item_dtype"], plain["classes"]) == (
            manifest.input.shape,
            manifest.input.dtype,
            manifest.output.columns,
        )
        assert plain["artifact"]["sha256"] == manifest.digest
    assert manifests


def test_a_manifest_that_is_of_no_version_is_refused() -> None:
    for data in (
        b"[]",
        b"[" * 100_000,
        b"{",
        _version_1(item_dtype="object"),
        _version_1(classes=3),
    ):
        with pytest.raises(MessageError, match="it is not a valid ModelManifest"):
            ModelManifest.from_json(data, where="it")
