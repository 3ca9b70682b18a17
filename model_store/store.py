"""Publish, resolve, fetch and promote models; versions never change, aliases move."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from fornada import keys
from fornada.errors import (
    ModelNotFoundError,
    ModelRefusedError,
    ModelUnusableError,
    ObjectNotFoundError,
)
from fornada.formats.items import Array
from fornada.formats.rows import Rows
from fornada.formats.tensor_file import Tensor
from fornada.records import (
    MAX_SMALL_JSON_BYTES,
    AliasMove,
    ModelPin,
    ObjectRef,
    now,
    sha256_of_file,
)
from fornada.settings import Settings
from fornada.storage.checked_reads import download_checked, read_bounded, read_checked
from fornada.storage.interface import Content, ObjectStore
from fornada.storage.opening import open_store
from model_store.aliases import Aliases, rollback_target
from model_store.claims import claim_number
from model_store.golden_batch import golden_suffix, to_golden
from model_store.manifest import GoldenBatch, ModelDraft, ModelManifest, ModelRef
from model_store.safety.signing import ManifestSignature, PrivateKey
from model_store.safety.trust import Trust
from model_store.scratch import scratch_folder
from model_store.wall.interface import OpenWall
from model_store.wall.messages import Passed
from model_store.wall.process import WallProcess
from model_store.wall.verdict import Verdicts

_REMEDY = "publish the model again"
#: A million classes fit.
_MOST_MANIFEST_BYTES = 64 * 1024 * 1024


class ModelStore:
    """Models in an object store: `models/<name>/<version>/…` and `models/<name>/aliases/…`."""

    def __init__(
        self,
        *,
        objects: ObjectStore,
        trust: Trust | None = None,
        open_wall: OpenWall = WallProcess,
    ) -> None:
        """Models in `objects`.

        Args:
            objects: The store.
            trust: Which of its models this process may load.
            open_wall: Loads models before they are published.
        """
        self.objects = objects
        self.trust = trust or Trust()
        self.open_wall = open_wall
        self.verdicts = Verdicts(objects=objects, keys=self.trust.deployment_keys)
        self._aliases = Aliases(objects=objects)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The models of the deployment that `settings` describe; contacts nothing yet.

        Raises:
            ConfigError: A setting is invalid.
        """
        return cls(objects=open_store(settings), trust=Trust.from_settings(settings))

    def publish(
        self,
        draft: ModelDraft,
        *,
        artifact: Content,
        golden_inputs: Rows | Array | Path,
        golden_outputs: Rows | Array | Path,
        files: Mapping[str, bytes] | None = None,
        check: Callable[[Path], Passed | None],
        sign_key: PrivateKey | None = None,
    ) -> ModelManifest:
        """Store a new version, which exists only once all of it is written and checked.

        Args:
            draft: What the publisher states about the model.
            artifact: The `.keras` file, or its bytes.
            golden_inputs: Typical items; an array is those of the only input, and a path a file of
                `to_golden`.
            golden_outputs: The model's outputs for those inputs, given likewise.
            files: Further files of the version, by name.
            check: Called with the file of the artifact as read back from the store; raises if the
                model does not load or fails its golden batch, and then there is no version. What it
                returns becomes the version's verdict.
            sign_key: Signs the manifest before the version exists.

        Raises:
            ModelRefusedError: From `check`.
            StoreError: The store cannot be reached or refuses.
            LocalDiskError: The temporary folder is full or not writable.
        """
        version = self._claim_version(draft.name)
        of_version = keys.ModelKeys(draft.name).version(version)
        prefix = of_version.prefix
        manifest = ModelManifest(
            **dict(draft),
            version=version,
            created_at=now(),
            artifact=self._put(of_version.artifact, artifact),
            golden=GoldenBatch(
                inputs=self._put_golden(f"{prefix}golden-inputs", golden_inputs, draft.inputs),
                outputs=self._put_golden(f"{prefix}golden-outputs", golden_outputs, draft.outputs),
            ),
            files={name: self._put(prefix + name, data) for name, data in (files or {}).items()},
        )
        with scratch_folder() as folder:
            self.download(manifest.artifact, folder / "model.keras")
            passed = check(folder / "model.keras")
        if passed is not None:
            self.verdicts.put(manifest, passed)
        if sign_key is not None:
            self._put_signature(manifest, sign_key.sign(manifest.to_json()))
        self.objects.put(of_version.manifest, manifest.to_json())
        return manifest

    def _put_golden(
        self, name: str, golden: Rows | Array | Path, tensors: Sequence[Tensor]
    ) -> ObjectRef:
        data: Content
        if isinstance(golden, Path):
            data = golden
        else:
            data = to_golden(golden if isinstance(golden, Rows) else Rows(golden), tensors)
        return self._put(f"{name}.{golden_suffix(tensors)}", data)

    def sign(self, manifest: ModelManifest, key: PrivateKey) -> None:
        """Add a signature to a version, beside those of other keys.

        Raises:
            ModelNotFoundError: The version is gone.
        """
        self._put_signature(manifest, key.sign(self.manifest_bytes(manifest)))

    def manifest_bytes(self, manifest: ModelManifest) -> bytes:
        """The manifest as it was stored, which is what signatures sign; its schema may be older.

        Raises:
            ModelNotFoundError: The version is gone.
        """
        ref = ModelRef(name=manifest.name, version=manifest.version)
        return self._read_manifest(ref, manifest.version)

    def resolve(self, ref: ModelRef | str) -> ModelManifest:
        """The version that `ref` means now; a bare name means the newest version.

        Raises:
            ModelNotFoundError: No such model, version or alias; lists those there are.
            UsageError: `ref` is not a model reference.
        """
        ref = ModelRef.parse(ref) if isinstance(ref, str) else ref
        return self._manifest(ref, self.version_of(ref))

    def version_of(self, ref: ModelRef) -> int:
        """The number of the version that `ref` means now; an explicit number is not checked.

        Raises:
            ModelNotFoundError: No such model or alias; lists those there are.
        """
        if ref.alias is not None:
            return self._alias_version(ref)
        if ref.version is not None:
            return ref.version
        versions = self.versions(ref.name)
        if not versions:
            raise self._not_found(ref)
        return versions[-1]

    def verified_manifest(self, pin: ModelPin) -> ModelManifest:
        """The manifest of exactly `pin`, if this process may load it.

        Raises:
            ModelUnusableError: The version has another digest, since the store was changed by hand.
            ModelRefusedError: This process does not accept the name, or a valid signature is
                missing.
            ModelNotFoundError: There is no such version.
        """
        self.trust.check_name(pin.name)
        ref = ModelRef(name=pin.name, version=pin.version)
        data = self._read_manifest(ref, pin.version)
        self._check_signature(pin, data)
        manifest = ModelManifest.of_version(data, pin.name, pin.version)
        if manifest.digest != pin.sha256:
            raise ModelUnusableError(
                f"model {pin} has digest {manifest.digest[:12]}…, and the job was submitted for "
                f"{pin.sha256[:12]}…; the store was changed by hand, publish a new version"
            )
        return manifest

    def names(self) -> list[str]:
        """All models that have a published version."""
        folders = self.objects.list_folders(keys.MODELS_PREFIX)
        # Others may have put what they like there.
        return [name for name in sorted(folders) if keys.is_name(name) and self.versions(name)]

    def versions(self, name: str) -> list[int]:
        """The published versions of a model, oldest first."""
        prefix = keys.ModelKeys(name).prefix
        found = [
            version
            for info in self.objects.list(prefix)
            if len(parts := info.key.removeprefix(prefix).split("/")) == 2  # noqa: PLR2004
            and parts[1] == "manifest.json"
            and (version := keys.version_in(parts[0])) is not None
        ]
        return sorted(found)

    def aliases(self, name: str) -> dict[str, int]:
        """Where each alias of a model points."""
        return self._aliases.targets(name)

    def alias_history(self, name: str, alias: str) -> list[AliasMove]:
        """Every move of an alias, oldest first.

        Raises:
            ModelNotFoundError: The model has no such alias.
        """
        moves = self._aliases.history(name, alias)
        if not moves:
            raise self._not_found(ModelRef(name=name, alias=alias))
        return moves

    def promote(self, name: str, version: int, alias: str) -> None:
        """Point `alias` at `version`, which must exist; jobs submitted from now on follow it.

        Concurrent moves are all in the history; the last one holds.

        Raises:
            ModelNotFoundError: There is no such version.
            UsageError: `alias` is not a valid name.
        """
        keys.check_name("alias", alias)
        self._manifest(ModelRef(name=name, version=version), version)
        self._aliases.move(name, alias, version)

    def rollback(self, name: str, alias: str) -> int:
        """Point `alias` where it pointed before, and return that version.

        Raises:
            ModelNotFoundError: The model has no such alias.
            UsageError: It has pointed to no other version that exists.
        """
        moves = self.alias_history(name, alias)
        version = rollback_target(moves, self.versions(name), alias=alias)
        self._aliases.move(name, alias, version, rollback=True)
        return version

    def fetch(self, ref: ObjectRef) -> bytes:
        """The bytes of an object that a manifest names.

        Raises:
            IntegrityError: Two reads did not match what the manifest says.
            ObjectNotFoundError: The object is gone.
        """
        return read_checked(self.objects, ref, remedy=_REMEDY)

    def download(self, ref: ObjectRef, path: Path) -> None:
        """Write an object that a manifest names into a file; others see all of it or nothing.

        Raises:
            IntegrityError, ObjectNotFoundError: As `fetch`.
            OSError: The file cannot be written.
        """
        download_checked(self.objects, ref, path, remedy=_REMEDY)

    def _claim_version(self, name: str) -> int:
        of_model = keys.ModelKeys(name)
        # Includes versions without a manifest: being published, failed or deleted.
        folders = self.objects.list_folders(of_model.prefix)
        taken = [n for folder in folders if (n := keys.version_in(folder)) is not None]
        return claim_number(
            self.objects,
            uuid.uuid4().hex.encode(),
            above=max(taken, default=0),
            key=lambda version: of_model.version(version).claim,
            tickets=of_model.version_tickets,
        )

    def _put(self, key: str, data: Content) -> ObjectRef:
        self.objects.put(key, data)
        if isinstance(data, bytes):
            return ObjectRef.of(key, data)
        return ObjectRef(key=key, size_bytes=data.stat().st_size, sha256=sha256_of_file(data))

    def _alias_version(self, ref: ModelRef) -> int:
        version = self._aliases.version(ref.name, ref.alias or "")
        if version is None:
            raise self._not_found(ref)
        return version

    def _manifest(self, ref: ModelRef, version: int) -> ModelManifest:
        return ModelManifest.of_version(self._read_manifest(ref, version), ref.name, version)

    def _read_manifest(self, ref: ModelRef, version: int) -> bytes:
        try:
            key = keys.ModelKeys(ref.name).version(version).manifest
            return read_bounded(self.objects, key, most_bytes=_MOST_MANIFEST_BYTES)
        except ObjectNotFoundError as exc:
            raise self._not_found(ref) from exc

    def _put_signature(self, manifest: ModelManifest, signature: ManifestSignature) -> None:
        key = manifest.version_keys.signature(signature.key_id)
        self.objects.put(key, signature.to_json())

    def _check_signature(self, pin: ModelPin, manifest: bytes) -> None:
        public_key = self.trust.public_key
        if public_key is None:
            return
        key = keys.ModelKeys(pin.name).version(pin.version).signature(public_key.key_id)
        try:
            data = read_bounded(self.objects, key, most_bytes=MAX_SMALL_JSON_BYTES)
            signature = ManifestSignature.from_json(data, where=key)
        except ObjectNotFoundError as exc:
            raise ModelRefusedError(
                f"model {pin} is not signed with the key {public_key.key_id[:12]}… that this "
                f"process requires; run: fornada models sign {pin} --key private.pem"
            ) from exc
        public_key.verify(manifest, signature, where=f"model {pin}")

    def _not_found(self, ref: ModelRef) -> ModelNotFoundError:
        versions = self.versions(ref.name)
        if not versions:
            names = ", ".join(self.names()) or "none; `fornada train` publishes one"
            return ModelNotFoundError(f"no model {ref.name!r}; there are: {names}")
        if ref.alias is not None:
            aliases = ", ".join(sorted(self.aliases(ref.name)))
            remedy = f"it has: {aliases}" if aliases else "it has none; use NAME:VERSION"
            return ModelNotFoundError(f"model {ref.name} has no alias {ref.alias!r}; {remedy}")
        known = ", ".join(str(version) for version in versions[-10:])
        return ModelNotFoundError(f"model {ref.name} has no version {ref.version}; it has: {known}")
