"""What is known about a published model version, and how to refer to one."""

import json
import re
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fornada.errors import ModelUnusableError, UsageError
from fornada.keys import ModelKeys, VersionKeys, check_name
from fornada.records import ModelPin, Name, ObjectRef, PositiveCount, Record
from fornada.tensors import MAX_TENSORS, InputTensor, OutputTensor, only, unnamed_tensors

#: Version 1 had one unnamed input and output.
MANIFEST_VERSION: Literal[2] = 2

_BEFORE_VERSION_2 = ("item_shape", "item_dtype", "classes")

#: Packages that compute golden outputs; `packages` of a draft has one of them.
_FRAMEWORKS = ("tensorflow", "jax", "openvino")

_REF = re.compile(r"(?P<name>[^:@]+)(?::(?P<version>\d+)|@(?P<alias>.+))?")


class ModelRef(BaseModel):
    """A reference to a model: `name`, `name:version` or `name@alias`."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """Parse `fashion-mnist`, `fashion-mnist:3` or `fashion-mnist@prod`.

        Raises:
            UsageError: It is not written so.
        """
        match = _REF.fullmatch(text)
        if match is None:
            raise UsageError(f"{text!r} is not a model; write NAME, NAME:VERSION or NAME@ALIAS")
        name = check_name("model name", match["name"])
        alias = check_name("alias", match["alias"]) if match["alias"] else None
        return cls(
            name=name, version=int(match["version"]) if match["version"] else None, alias=alias
        )

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}:{self.version}"
        return f"{self.name}@{self.alias}" if self.alias else self.name


class GoldenBatch(Record):
    """A few items, and the model's outputs for them when it was published."""

    #: `.npy`, item dtype [items, *item_shape]; of several inputs, of text or of open sides
    #: safetensors, as `fornada.formats.tensor_file` writes.
    inputs: ObjectRef
    #: The same of the outputs.
    outputs: ObjectRef


class Training(Record):
    """How a model was trained; enough to repeat it."""

    dataset: str
    recipe: str
    parameters: dict[str, Any]
    seed: int
    #: Of the training items and targets.
    data_sha256: str
    item_count: int
    duration_s: float = Field(ge=0)
    #: Why the same plan, data and seed may give other bytes; `None` where they give the same.
    not_reproducible_because: str | None = None


class ModelDraft(Record):
    """What a publisher states about a model; the store adds version, keys and digests."""

    name: Name
    inputs: list[InputTensor] = Field(min_length=1, max_length=MAX_TENSORS)
    outputs: list[OutputTensor] = Field(min_length=1, max_length=MAX_TENSORS)
    metrics: dict[str, float] = Field(default_factory=dict)
    training: Training | None = None
    #: Versions of the packages that made the artifact and its golden outputs.
    packages: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of_one(cls, taken: InputTensor, given: OutputTensor, **facts: Any) -> Self:
        """The draft of a model of one input and one output."""
        return cls(inputs=[taken], outputs=[given], **facts)

    @property
    def is_open(self) -> bool:
        """Whether a side of an item may vary in one of the inputs."""
        return any(tensor.is_open for tensor in self.inputs)

    @property
    def golden_framework(self) -> str | None:
        """The package that computed the golden outputs; `None` if it is not stated."""
        return next((name for name in _FRAMEWORKS if name in self.packages), None)

    @property
    def input(self) -> InputTensor:
        """The only input.

        Raises:
            UsageError: There are several.
        """
        return only(self.inputs, f"model {self}", "inputs")

    @property
    def output(self) -> OutputTensor:
        """The only output.

        Raises:
            UsageError: There are several.
        """
        return only(self.outputs, f"model {self}", "outputs")

    def __str__(self) -> str:
        return self.name


class ModelManifest(ModelDraft):
    """`manifest.json` of a version; immutable."""

    schema_version: Literal[2] = MANIFEST_VERSION
    version: PositiveCount
    created_at: datetime
    artifact: ObjectRef
    golden: GoldenBatch
    #: All other files of the version, by name.
    files: dict[str, ObjectRef] = Field(default_factory=dict)

    @classmethod
    def from_json(cls, data: bytes, *, where: str) -> Self:
        """Parse `data`, which was read from `where`; version 1 becomes what it means in version 2.

        Raises:
            MessageError: It is not JSON or not this record; names the wrong field.
        """
        return super().from_json(_upgraded(data), where=where)

    @classmethod
    def of_version(cls, data: bytes, name: str, version: int) -> Self:
        """Parse `data`, which was read where that version's manifest is.

        Raises:
            MessageError: It is no manifest.
            ModelUnusableError: It is that of another version, and so may be its signature.
        """
        found = cls.from_json(data, where=ModelKeys(name).version(version).manifest)
        if (found.name, found.version) != (name, version):
            raise ModelUnusableError(
                f"model {name}:{version} has the manifest of {found}; the store was changed by "
                "hand, publish a new version"
            )
        return found

    @property
    def digest(self) -> str:
        """sha256 of the artifact."""
        if self.artifact.sha256 is None:
            raise UsageError(f"the manifest of {self.name}:{self.version} has no digest")
        return self.artifact.sha256

    @property
    def pin(self) -> ModelPin:
        """The exact model, as jobs name it."""
        return ModelPin(name=self.name, version=self.version, sha256=self.digest)

    @property
    def version_keys(self) -> VersionKeys:
        """The keys of the version's objects."""
        return ModelKeys(self.name).version(self.version)

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


def _upgraded(data: bytes) -> bytes:
    """A manifest of version 1 as version 2; any other as it is."""
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError):
        return data
    if not isinstance(plain, dict) or plain.get("schema_version") != 1:
        return data
    old = {name: plain.pop(name, None) for name in (*_BEFORE_VERSION_2, "task")}
    try:
        tensors = unnamed_tensors(**old)
    except (TypeError, ValidationError):
        return data
    named = dict(zip(("inputs", "outputs"), ([t.model_dump()] for t in tensors), strict=True))
    return json.dumps(plain | {"schema_version": MANIFEST_VERSION} | named).encode()
