"""Publish, resolve, fetch and promote models; versions never change, aliases move."""

import uuid
from collections.abc import Callable, Mapping

from fornada import keys
from fornada.arrays import Array, sha256_hex, to_npy
from fornada.checked_reads import read_checked
from fornada.errors import (
    ModelNotFoundError,
    ModelRefusedError,
    ObjectNotFoundError,
)
from fornada.messages import AliasMove, ModelAlias, ModelPin, ObjectRef, now
from fornada.object_store import ObjectStore
from model_store.manifest import GoldenBatch, ModelDraft, ModelManifest, ModelRef

#: A version number is claimed by the first to write its claim; the loser takes the next.
_MAX_CLAIMS = 10_000


class ModelStore:
    """Models in an object store: `models/<name>/<version>/…` and `models/<name>/aliases/…`."""

    def __init__(self, *, objects: ObjectStore) -> None:
        self.objects = objects

    def publish(
        self,
        draft: ModelDraft,
        *,
        artifact: bytes,
        golden_inputs: Array,
        golden_outputs: Array,
        files: Mapping[str, bytes] | None = None,
        check: Callable[[bytes], None],
    ) -> ModelManifest:
        """Store a new version; it exists only when all of it is written and checked.

        Args:
            draft: What the model is.
            artifact: The `.keras` file.
            golden_inputs: item dtype [items, *item_shape].
            golden_outputs: float32 [items, classes], as the model gave them for those inputs.
            files: More to lie beside the artifact, by file name.
            check: Is called with the artifact as read back from the store; it loads it and
                compares the golden batch, and raises to keep the version from existing.

        Raises:
            ModelRefusedError: From `check`.
            StoreError: The store cannot be reached or refuses.
        """
        version = self._claim_version(draft.name)
        prefix = keys.model_version_prefix(draft.name, version)
        manifest = ModelManifest(
            **dict(draft),
            version=version,
            created_at=now(),
            artifact=self._put(keys.model_artifact(draft.name, version), artifact),
            golden=GoldenBatch(
                inputs=self._put(f"{prefix}golden-inputs.npy", to_npy(golden_inputs)),
                outputs=self._put(f"{prefix}golden-outputs.npy", to_npy(golden_outputs)),
            ),
            files={name: self._put(prefix + name, data) for name, data in (files or {}).items()},
        )
        check(self.fetch(manifest.artifact))
        self.objects.put(keys.model_manifest(draft.name, version), manifest.to_json())
        return manifest

    def resolve(self, ref: ModelRef | str) -> ModelManifest:
        """The version that `ref` means now; a bare name means the newest version.

        Raises:
            ModelNotFoundError: No such model, version or alias; says which there are.
            UsageError: `ref` is not a model reference.
        """
        ref = ModelRef.parse(ref) if isinstance(ref, str) else ref
        if ref.alias is not None:
            return self._manifest(ref, self._alias_version(ref))
        if ref.version is not None:
            return self._manifest(ref, ref.version)
        versions = self.versions(ref.name)
        if not versions:
            raise self._not_found(ref)
        return self._manifest(ref, versions[-1])

    def pinned(self, pin: ModelPin) -> ModelManifest:
        """The manifest of exactly `pin`.

        Raises:
            ModelRefusedError: The version's digest is another; somebody changed the store.
        """
        ref = ModelRef(name=pin.name, version=pin.version)
        manifest = self._manifest(ref, pin.version)
        if manifest.digest != pin.sha256:
            raise ModelRefusedError(
                f"model {pin} has digest {manifest.digest[:12]}…, and the job was submitted for "
                f"{pin.sha256[:12]}…; the store was changed by hand, publish a new version"
            )
        return manifest

    def names(self) -> list[str]:
        """All models that have a version."""
        return [
            n for n in sorted(self.objects.list_folders(keys.MODELS_PREFIX)) if self.versions(n)
        ]

    def versions(self, name: str) -> list[int]:
        """The published versions of a model, oldest first."""
        prefix = keys.model_prefix(name)
        found = [
            int(parts[0])
            for info in self.objects.list(prefix)
            if len(parts := info.key.removeprefix(prefix).split("/")) == 2  # noqa: PLR2004
            and parts[1] == "manifest.json"
            and parts[0].isdigit()
        ]
        return sorted(found)

    def aliases(self, name: str) -> dict[str, int]:
        """Where each alias of a model points."""
        prefix = keys.model_aliases_prefix(name)
        names = [
            info.key.removeprefix(prefix).removesuffix(".json")
            for info in self.objects.list(prefix)
        ]
        return {alias: self._read_alias(name, alias).version for alias in names}

    def promote(self, name: str, version: int, alias: str) -> None:
        """Point `alias` at `version`, which must exist; jobs submitted from now on follow it."""
        keys.check_name("alias", alias)
        self._manifest(ModelRef(name=name, version=version), version)
        try:
            moves = self._read_alias(name, alias).moves
        except ObjectNotFoundError:
            moves = []
        moved = ModelAlias(moves=[*moves, AliasMove(version=version, moved_at=now())])
        self.objects.put(keys.model_alias(name, alias), moved.to_json())

    def fetch(self, ref: ObjectRef) -> bytes:
        """The bytes of an object that a manifest names.

        Raises:
            IntegrityError: They do not match what the manifest says, in two reads.
            ObjectNotFoundError: The object is gone.
        """
        return read_checked(self.objects, ref, remedy="publish the model again")

    def _claim_version(self, name: str) -> int:
        token = uuid.uuid4().hex.encode()
        prefix = keys.model_prefix(name)
        # Claims without a manifest belong to publishers at work, or to failed ones.
        taken = [int(f) for f in self.objects.list_folders(prefix) if f.isdigit()]
        first = max(taken, default=0) + 1
        for version in range(first, first + _MAX_CLAIMS):
            if self.objects.put_if_absent(keys.model_claim(name, version), token):
                return version
        raise ModelRefusedError(
            f"no free version of {name} from {first} on; look at {prefix} in the store"
        )

    def _put(self, key: str, data: bytes) -> ObjectRef:
        self.objects.put(key, data)
        return ObjectRef(key=key, size_bytes=len(data), sha256=sha256_hex(data))

    def _alias_version(self, ref: ModelRef) -> int:
        try:
            return self._read_alias(ref.name, ref.alias or "").version
        except ObjectNotFoundError as exc:
            raise self._not_found(ref) from exc

    def _read_alias(self, name: str, alias: str) -> ModelAlias:
        key = keys.model_alias(name, alias)
        return ModelAlias.from_json(self.objects.get(key).data, where=key)

    def _manifest(self, ref: ModelRef, version: int) -> ModelManifest:
        key = keys.model_manifest(ref.name, version)
        try:
            data = self.objects.get(key).data
        except ObjectNotFoundError as exc:
            raise self._not_found(ref) from exc
        return ModelManifest.from_json(data, where=key)

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
