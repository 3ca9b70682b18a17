"""Malicious and damaged `.keras` files are refused with what is wrong."""

import copy
import io
import json
import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fornada.errors import ModelRefusedError
from model_store.safety import artifact_check
from model_store.safety.artifact_check import check_artifact

_CONFIG = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {
        "layers": [
            {
                "module": "keras.layers",
                "class_name": "Dense",
                "config": {
                    "units": 3,
                    "activation": "softmax",
                    "kernel_initializer": {
                        "module": "keras.initializers",
                        "class_name": "GlorotUniform",
                        "config": {"seed": None},
                        "registered_name": None,
                    },
                },
                "registered_name": None,
            }
        ]
    },
    "registered_name": None,
    "compile_config": {
        "optimizer": {"module": "keras.optimizers", "class_name": "Adam", "config": {}},
        "loss": {
            "module": "builtins",
            "class_name": "function",
            "config": "sparse_categorical_crossentropy",
            "registered_name": "function",
        },
    },
}


def _weights(write: Callable[[h5py.File], object] | None = None) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("layers/dense/vars")["0"] = np.ones((4, 3), np.float32)
        if write is not None:
            write(file)
    return buffer.getvalue()


def _artifact(
    *,
    config: Any = _CONFIG,
    weights: bytes | None = None,
    write: Callable[[zipfile.ZipFile], object] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", config if isinstance(config, bytes) else json.dumps(config))
        archive.writestr("model.weights.h5", _weights() if weights is None else weights)
        if write is not None:
            write(archive)
    return buffer.getvalue()


def _with_layer(layer: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = copy.deepcopy(_CONFIG)
    config["config"]["layers"].append(layer)
    return config


def _refusal(data: bytes) -> str:
    with pytest.raises(ModelRefusedError) as refusal:
        check_artifact(data, where="the artifact")
    message = str(refusal.value)
    assert message.startswith("the artifact ")
    assert "publish it again" in message or "FORNADA_ALLOWED_OBJECTS=" in message
    assert "\n" not in message
    return message


def test_a_plain_model_is_accepted() -> None:
    check_artifact(_artifact(), where="the artifact")
    check_artifact(_artifact(compression=zipfile.ZIP_DEFLATED), where="the artifact")


def test_anything_but_a_listed_layer_is_refused() -> None:
    inside = {"activation": {"module": "my", "class_name": "Act", "config": {}}}
    for layer in (
        {"module": "keras.layers", "class_name": "JaxLayer", "config": {}},
        {"module": "keras.layers", "class_name": "FlaxLayer", "config": {}},
        {"module": "builtins", "class_name": "function", "config": "relu"},
        {"module": "keras.src.utils.python_utils", "class_name": "func_load", "config": {}},
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}},
        {"module": None, "class_name": "Dense", "config": {}},
        {"class_name": "__lambda__", "config": {"value": "4wEAAA=="}},
        {"class_name": "__numpy__", "config": {"value": [1], "dtype": "S1000000000"}},
        {"module": "keras.optimizers", "class_name": "Adam", "config": {}},
        {"module": "keras.layers", "class_name": "Dense", "config": inside},
    ):
        message = _refusal(_artifact(config=_with_layer(layer)))
        assert re.search("not on the list|which is refused|outside the file|not Keras's", message)


def test_a_custom_object_is_refused_by_its_registered_name() -> None:
    layer = {
        "module": "keras.layers",
        "class_name": "Dense",
        "config": {},
        "registered_name": "evil>Dense",
    }

    assert "custom object 'evil>Dense'" in _refusal(_artifact(config=_with_layer(layer)))


def test_a_class_name_that_is_not_text_is_refused() -> None:
    layer = {"module": "keras.layers", "class_name": ["Dense"], "config": {}}

    assert "other than text" in _refusal(_artifact(config=_with_layer(layer)))


@pytest.mark.parametrize(
    ("config", "fact"),
    [
        (b"\xff\xfe not json", "not JSON"),
        (b"[]", "not a Sequential or Functional"),
        (b'{"class_name": "Lambda"}', "not a Sequential or Functional"),
        (b"[" * 200_000, "not JSON"),
        (json.dumps({**_CONFIG, "deep": json.loads("[" * 80 + "]" * 80)}).encode(), "64 deep"),
        (b" " * (artifact_check.MAX_CONFIG_BYTES + 1), "config.json of"),
    ],
    ids=["binary", "list", "not-a-model", "bottomless", "deep", "large"],
)
def test_an_absurd_configuration_is_refused(config: bytes, fact: str) -> None:
    assert fact in _refusal(_artifact(config=config))


def test_a_member_of_another_name_is_refused() -> None:
    for name in ("assets/vocabulary.txt", "../../etc/cron.d/x", "/etc/passwd"):
        data = _artifact(write=lambda archive, name=name: archive.writestr(name, "x"))

        assert f"holds {name!r}" in _refusal(data)


def test_vocabularies_lie_in_folders_named_after_layers() -> None:
    name = "assets/layers/string_lookup/vocabulary.txt"
    check_artifact(
        _artifact(write=lambda archive: archive.writestr(name, "red\nmaçã")), where="the artifact"
    )

    for wrong in (
        "assets/../vocabulary.txt",
        "assets/a/../../vocabulary.txt",
        "assets//vocabulary.txt",
        "assets/a\\..\\b/vocabulary.txt",
        "assets/C:/vocabulary.txt",
        "assets/a/vocabulary.txt/b",
        "assets/a/code.py",
        "/assets/a/vocabulary.txt",
        "assets/" + "a/" * 65 + "vocabulary.txt",
    ):
        data = _artifact(write=lambda archive, wrong=wrong: archive.writestr(wrong, "x"))
        assert "and may hold only" in _refusal(data)


def test_a_vocabulary_is_bounded_text(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "assets/layers/string_lookup/vocabulary.txt"

    assert "not UTF-8" in _refusal(
        _artifact(write=lambda archive: archive.writestr(name, b"\xff\xfe"))
    )
    monkeypatch.setattr(artifact_check, "MAX_VOCABULARY_BYTES", 3)
    assert "of 4 bytes, over 3" in _refusal(
        _artifact(write=lambda archive: archive.writestr(name, "abcd"))
    )


def test_a_file_of_many_members_is_refused() -> None:
    def write(archive: zipfile.ZipFile) -> None:
        for number in range(1000):
            archive.writestr(f"assets/text_{number}/vocabulary.txt", b"a")

    assert "holds 1003 members, over 1000" in _refusal(_artifact(write=write))


@pytest.mark.parametrize("comment", [b"", b"PK\5\6 as its comment says"])
def test_a_directory_is_not_read_before_its_size_is_known(comment: bytes) -> None:
    def write(archive: zipfile.ZipFile) -> None:
        archive.comment = comment
        for number in range(20):
            archive.writestr(f"x{number}", b"")
            archive.getinfo(f"x{number}").comment = b"c" * 60_000

    assert "bytes, over 1048576" in _refusal(_artifact(write=write))


def test_a_zip64_archive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)

    assert "zip64" in _refusal(_artifact())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_occurs_twice_is_refused() -> None:
    data = _artifact(write=lambda archive: archive.writestr("config.json", "{}"))

    assert "twice" in _refusal(data)


def test_a_symbolic_link_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", json.dumps(_CONFIG))
        link = zipfile.ZipInfo("model.weights.h5")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")

    assert "other than a plain file" in _refusal(buffer.getvalue())


def test_an_exotic_compression_is_refused() -> None:
    assert "method 14" in _refusal(_artifact(compression=zipfile.ZIP_LZMA))


def test_a_file_that_lacks_a_member_is_refused() -> None:
    members = "config.json", "model.weights.h5"
    for present, missing in (members, members[::-1]):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(present, "{}")

        assert f"has no {missing}" in _refusal(buffer.getvalue())


def test_a_zip_bomb_is_refused() -> None:
    data = _artifact(weights=bytes(17 * 1024**2), compression=zipfile.ZIP_DEFLATED)

    assert "unpacks model.weights.h5" in _refusal(data)


def test_a_file_that_is_not_a_zip_is_refused() -> None:
    for data in (b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n" + bytes(100)):
        assert "not a readable .keras" in _refusal(data)


def test_a_truncated_file_is_refused_at_any_length() -> None:
    whole = _artifact()

    for length in range(0, len(whole), 97):
        _refusal(whole[:length])


def test_a_damaged_member_is_refused() -> None:
    damaged = bytearray(_artifact())
    at = damaged.index(b'"Sequential"')
    damaged[at + 1] ^= 1

    assert "Bad CRC" in _refusal(bytes(damaged))


def test_a_file_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_check, "MAX_ARTIFACT_BYTES", 100)

    assert "more than 100" in _refusal(_artifact())


def test_weights_that_are_not_hdf5_are_refused() -> None:
    assert "HDF5 cannot read" in _refusal(_artifact(weights=b"not hdf5"))


def _packed_twice(file: h5py.File) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((4,))
    for _ in range(2):
        creation.set_deflate(9)
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, creation)


@pytest.mark.parametrize(
    ("write", "fact"),
    [
        (lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/x.h5", "/")), "elsewhere"),
        (lambda file: file.__setitem__("x", h5py.SoftLink("/layers")), "elsewhere"),
        (lambda file: file.__setitem__("layers/again", file["layers"]), "repeat"),
        (lambda file: file.__setitem__("x", np.dtype("f4")), "neither group nor dataset"),
        (lambda file: file.__setitem__("x", "text"), "dtype object"),
        (lambda file: file.__setitem__("x", np.zeros(2, [("a", "f4")])), "dtype [('a'"),
        (
            lambda file: file.create_dataset(
                "x", (4,), "u1", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
            ),
            "another file",
        ),
        (
            lambda file: file.create_dataset("x", (10**9,), "f4", chunks=(1024,), fillvalue=1.0),
            "declares 4000000048 bytes",
        ),
        (
            lambda file: file.create_dataset("x", (10**9,), "f4", compression="lzf"),
            "foreign filter",
        ),
        (
            lambda file: file.create_dataset("x", (4,), "f4", chunks=(2**28,), maxshape=(None,)),
            "declares 1073741872 bytes",
        ),
        (_packed_twice, "packs weights more than once: /x"),
    ],
    ids=[
        *("external", "soft", "cycle", "type", "text", "columns", "file", "bomb", "filter"),
        *("chunk", "twice"),
    ],
)
def test_weights_that_are_not_plain_arrays_in_the_file_are_refused(
    write: Callable[[h5py.File], object], fact: str
) -> None:
    assert fact in _refusal(_artifact(weights=_weights(write)))


def test_virtual_weights_are_refused(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", shape=(4,))
        file.create_virtual_dataset("x", layout)

    assert "another file" in _refusal(_artifact(weights=_weights(write)))


def test_members_that_together_unpack_to_far_more_than_the_file_are_refused() -> None:
    # given vocabularies that are each within the limit of a member
    def write(archive: zipfile.ZipFile) -> None:
        for number in range(3):
            archive.writestr(f"assets/text_{number}/vocabulary.txt", b"a" * (15 * 1024**2))

    data = _artifact(write=write, compression=zipfile.ZIP_DEFLATED)

    with pytest.raises(ModelRefusedError, match=r"unpacks to \d+ bytes, over 16777216"):
        check_artifact(data, where="m.keras")
