"""What the wall found on a version, and its signature with a deployment's key."""

from datetime import datetime
from typing import Literal, Self

from pydantic import Field

from fornada.errors import MessageError, ObjectNotFoundError
from fornada.records import (
    MAX_SMALL_JSON_BYTES,
    SCHEMA_VERSION,
    Record,
    Sha256,
    now,
    sha256_hex,
)
from fornada.storage.checked_reads import read_bounded
from fornada.storage.interface import ObjectStore
from fornada.tensors import InputTensor, OutputTensor
from fornada.trust.deployment_keys import DeploymentKeys, Hmac
from model_store.manifest import ModelManifest
from model_store.wall.messages import CallCost, Passed


class _Loaded(Record):
    """All that a load reads of a version."""

    artifact: Sha256
    golden_inputs: Sha256 | None
    golden_outputs: Sha256 | None
    inputs: list[InputTensor]
    outputs: list[OutputTensor]


class Verdict(Record):
    """`verdict.json` of a version: it loads and predicts within the wall's limits."""

    schema_version: Literal[1] = SCHEMA_VERSION
    #: From `subject_of`.
    subject: Sha256
    #: What computed, with its version.
    engine: str
    #: The most memory that the process behind the wall has taken.
    peak_bytes: int = Field(ge=0)
    #: As `Passed.calls`.
    calls: list[CallCost] = Field(min_length=1)
    passed_at: datetime
    #: Of all other fields; absent in what a machine keeps for itself.
    hmac: Hmac | None = None

    @classmethod
    def of(cls, manifest: ModelManifest, passed: Passed) -> Self:
        """The verdict on a version, not signed yet."""
        return cls(
            subject=subject_of(manifest),
            engine=passed.engine,
            peak_bytes=passed.peak_bytes,
            calls=passed.calls,
            passed_at=now(),
        )

    def signed(self, keys: DeploymentKeys) -> Self | None:
        """The verdict with its signature; `None` without a key."""
        hmac = keys.sign("verdict", self.subject, self._signed_bytes())
        return None if hmac is None else self.model_copy(update={"hmac": hmac})

    def is_valid(self, manifest: ModelManifest, keys: DeploymentKeys) -> bool:
        """Whether one of the keys signed it, for this version."""
        return self.subject == subject_of(manifest) and keys.verify(
            "verdict", self.subject, self._signed_bytes(), self.hmac
        )

    def _signed_bytes(self) -> bytes:
        return self.model_copy(update={"hmac": None}).to_json()


class Verdicts:
    """The verdicts beside the manifests of a store."""

    def __init__(self, *, objects: ObjectStore, keys: DeploymentKeys) -> None:
        self._objects = objects
        self._keys = keys

    def find(self, manifest: ModelManifest) -> Verdict | None:
        """The verdict on a version, if one of the deployment's keys signed it.

        Raises:
            StoreError: The store cannot be reached or refuses.
        """
        if not self._keys:
            return None
        key = manifest.version_keys.verdict
        try:
            data = read_bounded(self._objects, key, most_bytes=MAX_SMALL_JSON_BYTES)
            verdict = Verdict.from_json(data, where=key)
        except (ObjectNotFoundError, MessageError):
            return None
        return verdict if verdict.is_valid(manifest, self._keys) else None

    def put(self, manifest: ModelManifest, passed: Passed) -> None:
        """Store the verdict on a version; without a key nobody would believe it."""
        verdict = Verdict.of(manifest, passed).signed(self._keys)
        if verdict is not None:
            self._objects.put(manifest.version_keys.verdict, verdict.to_json())


def subject_of(manifest: ModelManifest) -> str:
    """What a verdict is about, as a sha256: artifact, golden batch, inputs and outputs.

    Another version of the same artifact may have golden items that take all memory.
    """
    loaded = _Loaded(
        artifact=manifest.digest,
        golden_inputs=manifest.golden.inputs.sha256,
        golden_outputs=manifest.golden.outputs.sha256,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
    )
    return sha256_hex(loaded.to_json())
