"""Versions appear whole and never change; aliases move; errors list what there is."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fornada import keys
from fornada.errors import (
    IntegrityError,
    ModelNotFoundError,
    ModelRefusedError,
    ModelUnusableError,
    UsageError,
)
from fornada.formats.npy import from_npy
from fornada.records import ModelPin, sha256_hex
from fornada.storage.interface import ObjectInfo
from fornada.storage.memory import InMemoryObjectStore
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from model_store.testing import draft_for_test

_INPUTS = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
_OUTPUTS = np.array([[0.25, 0.75], [1, 0]], np.float32)


def _accept(artifact: bytes) -> None:
    """A check that passes."""


def _publish(
    store: ModelStore,
    *,
    name: str = "m",
    artifact: bytes = b"artifact",
    check: Callable[[bytes], None] = _accept,
) -> ModelManifest:
    return store.publish(
        draft_for_test(name=name, item_shape=[2, 2], item_dtype="uint8", classes=["a", "b"]),
        artifact=artifact,
        golden_inputs=_INPUTS,
        golden_outputs=_OUTPUTS,
        files={"history.json": b"{}"},
        check=check,
    )


@pytest.fixture(params=[True, False], ids=["conditional", "unconditional"])
def objects(request: pytest.FixtureRequest) -> InMemoryObjectStore:
    return InMemoryObjectStore(conditional_writes=request.param)


@pytest.fixture
def store(objects: InMemoryObjectStore) -> ModelStore:
    return ModelStore(objects=objects)


def test_what_lies_beside_versions_is_none(store: ModelStore, objects: InMemoryObjectStore) -> None:
    _publish(store)
    for name in ("²", "٣", "0", "01", "x", "9" * 30):
        objects.put(f"models/m/{name}/manifest.json", b"{}")
    objects.put("models/m/tickets/versions/.DS_Store", b"x")

    assert 2 == _publish(store).version

    assert [1, 2] == store.versions("m")


def test_a_published_version_is_read_back_whole(store: ModelStore) -> None:
    published = _publish(store)

    found = store.resolve("m")

    assert published == found
    assert "m:1" == str(found)
    assert sha256_hex(b"artifact") == found.digest
    assert b"artifact" == store.fetch(found.artifact)
    assert b"{}" == store.fetch(found.files["history.json"])
    golden = found.golden
    np.testing.assert_array_equal(_INPUTS, from_npy(store.fetch(golden.inputs), where="inputs"))
    np.testing.assert_array_equal(_OUTPUTS, from_npy(store.fetch(golden.outputs), where="outputs"))


def test_versions_count_up_and_a_bare_name_means_the_newest(store: ModelStore) -> None:
    for artifact in (b"1", b"2", b"3"):
        _publish(store, artifact=artifact)

    assert [1, 2, 3] == store.versions("m")
    assert sha256_hex(b"3") == store.resolve("m").digest
    assert sha256_hex(b"2") == store.resolve("m:2").digest


def test_eleven_versions_are_in_numeric_order(store: ModelStore) -> None:
    for _ in range(11):
        _publish(store)

    assert list(range(1, 12)) == store.versions("m")
    assert 11 == store.resolve("m").version


def test_the_check_gets_the_artifact_as_the_store_returns_it(store: ModelStore) -> None:
    checked: list[bytes] = []

    _publish(store, check=lambda path: checked.append(path.read_bytes()))

    assert [b"artifact"] == checked


def test_a_version_that_fails_its_check_does_not_exist(store: ModelStore) -> None:
    def refuse(artifact: bytes) -> None:
        raise ModelRefusedError("no")

    with pytest.raises(ModelRefusedError, match="no"):
        _publish(store, check=refuse)

    assert [] == store.names()
    assert [] == store.versions("m")
    with pytest.raises(ModelNotFoundError, match="no model 'm'"):
        store.resolve("m:1")


def test_the_number_of_a_failed_version_is_not_reused(store: ModelStore) -> None:
    def refuse(artifact: bytes) -> None:
        raise ModelRefusedError("no")

    with pytest.raises(ModelRefusedError):
        _publish(store, check=refuse)

    assert 2 == _publish(store).version


def test_concurrent_publishers_get_different_versions() -> None:
    store = ModelStore(objects=InMemoryObjectStore())

    with ThreadPoolExecutor(8) as pool:
        published = list(pool.map(lambda i: _publish(store, artifact=str(i).encode()), range(16)))

    assert list(range(1, 17)) == sorted(manifest.version for manifest in published)
    for index, manifest in enumerate(published):
        assert str(index).encode() == store.fetch(store.resolve(str(manifest)).artifact)


def test_a_lost_claim_leads_to_the_next_number() -> None:
    class Racing(InMemoryObjectStore):
        """Another publisher claims version 1 just after it was seen to be free."""

        def put_if_absent(self, key: str, data: bytes) -> bool:
            if key == keys.ModelKeys("m").version(1).claim:
                super().put(key, b"another publisher")
            return super().put_if_absent(key, data)

    store = ModelStore(objects=Racing())

    assert 2 == _publish(store).version


def test_the_error_for_an_unknown_model_lists_those_there_are(store: ModelStore) -> None:
    with pytest.raises(ModelNotFoundError, match="`fornada train` publishes one"):
        store.resolve("x")
    _publish(store, name="cats")
    _publish(store, name="dogs")

    with pytest.raises(ModelNotFoundError, match="no model 'x'; there are: cats, dogs") as error:
        store.resolve("x@prod")

    assert 2 == error.value.exit_code


def test_the_error_for_an_unknown_version_lists_those_there_are(store: ModelStore) -> None:
    _publish(store)
    _publish(store)

    with pytest.raises(ModelNotFoundError, match="m has no version 7; it has: 1, 2"):
        store.resolve("m:7")


def test_the_error_for_an_unknown_alias_lists_those_there_are(store: ModelStore) -> None:
    _publish(store)
    with pytest.raises(ModelNotFoundError, match="no alias 'prod'; it has none; use NAME:VERSION"):
        store.resolve("m@prod")
    store.promote("m", 1, "test")

    with pytest.raises(ModelNotFoundError, match="no alias 'prod'; it has: test"):
        store.resolve("m@prod")


def test_an_alias_moves_and_keeps_its_history(store: ModelStore) -> None:
    _publish(store)
    _publish(store)
    store.promote("m", 1, "prod")
    store.promote("m", 2, "prod")

    assert 2 == store.resolve("m@prod").version
    store.promote("m", 1, "prod")

    assert 1 == store.resolve("m@prod").version
    assert {"prod": 1} == store.aliases("m")
    assert [1, 2, 1] == [move.version for move in store.alias_history("m", "prod")]


def test_a_missing_version_cannot_be_promoted(store: ModelStore) -> None:
    _publish(store)

    with pytest.raises(ModelNotFoundError, match="no version 2"):
        store.promote("m", 2, "prod")

    assert {} == store.aliases("m")


def test_an_invalid_alias_is_refused(store: ModelStore) -> None:
    _publish(store)

    with pytest.raises(UsageError, match="alias 'a/b' is not a valid name"):
        store.promote("m", 1, "a/b")


def test_a_pin_resolves_to_exactly_its_version(store: ModelStore) -> None:
    published = _publish(store)
    _publish(store, artifact=b"newer")

    assert published == store.verified_manifest(published.pin)


def test_a_pin_whose_digest_differs_is_refused(store: ModelStore) -> None:
    _publish(store)
    pin = ModelPin(name="m", version=1, sha256="0" * 64)

    with pytest.raises(ModelRefusedError, match="was submitted for 000000000000…") as error:
        store.verified_manifest(pin)

    assert sha256_hex(b"artifact")[:12] in str(error.value)


def test_a_manifest_that_was_copied_from_another_version_is_refused(
    store: ModelStore, objects: InMemoryObjectStore
) -> None:
    _publish(store)
    objects.put("models/other/3/manifest.json", objects.get("models/m/1/manifest.json").data)

    with pytest.raises(ModelUnusableError, match=r"model other:3 has the manifest of m:1"):
        store.resolve("other")


def test_a_changed_artifact_is_noticed(store: ModelStore, objects: InMemoryObjectStore) -> None:
    manifest = _publish(store)
    objects.put(manifest.artifact.key, b"changed by hand")

    with pytest.raises(IntegrityError, match=r"models/m/1/model\.keras has more than 8 bytes"):
        store.fetch(manifest.artifact)

    objects.put(manifest.artifact.key, b"ARTIFACT")
    with pytest.raises(IntegrityError, match=r"model\.keras does not match its sha256"):
        store.fetch(manifest.artifact)


def test_an_artifact_that_the_store_damaged_is_not_published() -> None:
    class Damaging(InMemoryObjectStore):
        """A store that returns other bytes than it was given."""

        def put(self, key: str, data: bytes, *, bucket: str | None = None) -> None:
            super().put(key, data[::-1] if key.endswith(".keras") else data, bucket=bucket)

    store = ModelStore(objects=Damaging())

    with pytest.raises(IntegrityError, match="does not match"):
        _publish(store)

    assert [] == store.versions("m")


def test_models_do_not_see_each_others_objects(
    store: ModelStore, objects: InMemoryObjectStore
) -> None:
    _publish(store, name="m")
    _publish(store, name="m2")
    store.promote("m2", 1, "prod")
    objects.put("models/m/notes/manifest.json", b"{}")
    objects.put("models/stray.txt", b"")

    assert ["m", "m2"] == store.names()
    assert [1] == store.versions("m")
    assert {} == store.aliases("m")


def test_the_manifest_is_written_last(store: ModelStore, objects: InMemoryObjectStore) -> None:
    seen: list[list[ObjectInfo]] = []

    _publish(store, check=lambda _: seen.append(list(objects.list("models/m/1/"))))

    names = {info.key.rsplit("/", 1)[-1] for info in seen[0]}
    assert "manifest.json" not in names
    assert {"model.keras", "golden-inputs.npy", "golden-outputs.npy", "history.json"} <= names
    manifest = json.loads(objects.get(keys.ModelKeys("m").version(1).manifest).data)
    assert sha256_hex(b"artifact") == manifest["artifact"]["sha256"]
