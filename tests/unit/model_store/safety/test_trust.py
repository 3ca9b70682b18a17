"""What a process may load: by name, by signature, with which custom layers."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from fornada import keys
from fornada.errors import ConfigError, ModelRefusedError, UsageError
from fornada.settings import Settings
from model_store.manifest import ModelManifest
from model_store.safety.signing import PrivateKey, PublicKey
from model_store.safety.trust import Trust, names_in
from model_store.store import ModelStore


def _write_keys(folder: Path, key: Any) -> tuple[Path, Path]:
    private, public = folder / "private.pem", folder / "public.pem"
    folder.mkdir(exist_ok=True)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def key_files(tmp_path: Path) -> tuple[Path, Path]:
    """PEM files of a private key and its public key."""
    return _write_keys(tmp_path / "keys", Ed25519PrivateKey.generate())


@pytest.fixture
def private_key(key_files: tuple[Path, Path]) -> PrivateKey:
    return PrivateKey.read(key_files[0])


@pytest.fixture
def worker(models: ModelStore, key_files: tuple[Path, Path]) -> ModelStore:
    """The store as seen by a worker that accepts one key."""
    trust = Trust.from_settings(Settings(model_public_key=str(key_files[1])))
    return ModelStore(objects=models.objects, trust=trust)


def test_a_version_signed_at_publication_is_loaded(
    worker: ModelStore, publish: Any, private_key: PrivateKey
) -> None:
    manifest = publish(sign_key=private_key)

    assert manifest == worker.verified_manifest(manifest.pin)


def test_a_version_signed_later_is_loaded_from_then_on(
    worker: ModelStore, models: ModelStore, publish: Any, private_key: PrivateKey
) -> None:
    manifest = publish()
    with pytest.raises(
        ModelRefusedError, match=r"m:1 is not signed with the key .*models sign m:1"
    ):
        worker.verified_manifest(manifest.pin)

    models.sign(manifest, private_key)

    assert manifest == worker.verified_manifest(manifest.pin)


def test_a_signature_of_another_key_does_not_count(
    worker: ModelStore, publish: Any, tmp_path: Path
) -> None:
    stranger, _ = _write_keys(tmp_path / "stranger", Ed25519PrivateKey.generate())
    manifest = publish(sign_key=PrivateKey.read(stranger))

    with pytest.raises(ModelRefusedError, match="is not signed with the key"):
        worker.verified_manifest(manifest.pin)


def test_a_forged_signature_under_the_right_key_id_is_refused(
    worker: ModelStore, models: ModelStore, publish: Any, private_key: PrivateKey, tmp_path: Path
) -> None:
    stranger, _ = _write_keys(tmp_path / "stranger", Ed25519PrivateKey.generate())
    manifest = publish()
    forged = PrivateKey.read(stranger).sign(manifest.to_json())
    models.objects.put(
        keys.ModelKeys("m").version(1).signature(private_key.key_id), forged.to_json()
    )

    with pytest.raises(ModelRefusedError, match="the signature of model m:1 does not fit"):
        worker.verified_manifest(manifest.pin)


def test_a_malformed_signature_is_refused(
    worker: ModelStore, models: ModelStore, publish: Any, private_key: PrivateKey
) -> None:
    manifest = publish()
    key = manifest.version_keys.signature(private_key.key_id)
    for signature in ("", "not base64!", "AAAA"):
        broken = private_key.sign(b"").model_copy(update={"signature": signature})
        models.objects.put(key, broken.to_json())

        with pytest.raises(ModelRefusedError, match="does not fit its manifest"):
            worker.verified_manifest(manifest.pin)


def test_a_manifest_changed_after_it_was_signed_is_refused(
    worker: ModelStore, models: ModelStore, publish: Any, private_key: PrivateKey
) -> None:
    # given a manifest that differs in its classes only
    manifest: ModelManifest = publish(sign_key=private_key)
    given = manifest.output.model_copy(update={"classes": ["b", "a"]})
    changed = manifest.model_copy(update={"outputs": [given]})
    models.objects.put(keys.ModelKeys("m").version(1).manifest, changed.to_json())

    with pytest.raises(ModelRefusedError, match="does not fit its manifest"):
        worker.verified_manifest(manifest.pin)


def test_a_signed_manifest_under_another_name_is_refused(
    worker: ModelStore, models: ModelStore, publish: Any, private_key: PrivateKey
) -> None:
    # given the signed version 1, copied over version 2
    first, second = publish(sign_key=private_key), publish(artifact=b"other")
    one, two = keys.ModelKeys("m").version(1), keys.ModelKeys("m").version(2)
    models.objects.put(two.manifest, models.objects.get(one.manifest).data)
    signature = models.objects.get(one.signature(private_key.key_id)).data
    models.objects.put(two.signature(private_key.key_id), signature)

    with pytest.raises(ModelRefusedError, match="m:2 has the manifest of m:1"):
        worker.verified_manifest(second.pin.model_copy(update={"sha256": first.digest}))


def test_files_that_are_not_keys_are_refused(tmp_path: Path) -> None:
    elliptic = _write_keys(tmp_path / "elliptic", generate_private_key(SECP256R1()))
    text = tmp_path / "text.pem"
    text.write_text("no key")

    for path in (elliptic[0], text, tmp_path / "none.pem"):
        with pytest.raises(UsageError, match="openssl genpkey -algorithm ed25519"):
            PrivateKey.read(path)
    with pytest.raises(ConfigError, match="is not an Ed25519 public key"):
        PublicKey.read(elliptic[1])
    for path in (text, tmp_path / "none.pem"):
        with pytest.raises(ConfigError, match="cannot be read"):
            PublicKey.read(path)


def test_names_are_accepted_by_glob() -> None:
    accepted = ((None, "any"), ("fashion-*, digits", "fashion-mnist"), ("f-*, digits", "digits"))
    for globs, name in accepted:
        Trust.from_settings(Settings(accepted_models=globs)).check_name(name)

    refused = (("fashion-*, digits", "digits2"), ("fashion-*", "Fashion-mnist"), (",", "m"))
    for globs, name in refused:
        with pytest.raises(ModelRefusedError, match=f"'{name}' is not one that this process"):
            Trust.from_settings(Settings(accepted_models=globs)).check_name(name)


def test_a_model_of_a_refused_name_is_not_read(models: ModelStore, publish: Any) -> None:
    pin = publish().pin
    worker = ModelStore(objects=models.objects, trust=Trust(accepted_models=("other",)))

    with pytest.raises(ModelRefusedError, match="FORNADA_ACCEPTED_MODELS"):
        worker.verified_manifest(pin)


def test_allowed_objects_are_a_comma_separated_list() -> None:
    for entry in (
        "Dense",
        "a.b",
        "a:b:c",
        "a b:C",
        "os.path:join()",
        "a-b:C",
        "=a:b",
        "A>B=c",
        "A=",
    ):
        with pytest.raises(ConfigError, match="FORNADA_ALLOWED_OBJECTS has"):
            Trust.from_settings(Settings(allowed_objects=entry))
    with pytest.raises(ConfigError, match="gives 'A>B' two meanings"):
        Trust.from_settings(Settings(allowed_objects="A>B=c:D,A>B=c:E"))

    trust = Trust.from_settings(Settings(allowed_objects="a.b:C, Custom>D=d:E,"))

    assert {"a.b:C", "Custom>D=d:E"} == trust.allowed_objects
    assert () == names_in(None)


def test_the_old_name_of_the_setting_is_read_too() -> None:
    with pytest.raises(ConfigError, match="FORNADA_ALLOWED_LAYERS has"):
        Trust.from_settings(Settings(allowed_layers="Dense"))

    trust = Trust.from_settings(Settings(allowed_layers="a.b:C", allowed_objects="d:E"))

    assert {"a.b:C", "d:E"} == trust.allowed_objects
