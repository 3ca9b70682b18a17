"""A model and its versions as the API shows them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from fornada import keys
from fornada.tensors import InputTensor, OutputTensor
from model_store.manifest import ModelManifest


class ModelSummaryDocument(BaseModel):
    """A model, in the list of all."""

    name: str
    versions: int = Field(description="How many.")
    latest: int
    aliases: dict[str, int]


class ModelListDocument(BaseModel):
    """All models."""

    data: list[ModelSummaryDocument]


class AliasMoveDocument(BaseModel):
    """A move of an alias."""

    version: int
    moved_at: datetime
    rollback: bool


class AliasDocument(BaseModel):
    """Where an alias points, and where it pointed before, the oldest first."""

    alias: str
    version: int
    history: list[AliasMoveDocument]


class ModelAliasesDocument(BaseModel):
    """A model, with the versions and aliases that it has."""

    name: str
    versions: list[int]
    aliases: list[AliasDocument]


class TrainingDocument(BaseModel):
    """How a version was trained; enough to repeat it."""

    dataset: str
    recipe: str
    parameters: dict[str, Any]
    seed: int
    data_sha256: str
    item_count: int
    duration_s: float
    not_reproducible_because: str | None


class VersionDocument(BaseModel):
    """A version of a model, which never changes."""

    name: str
    version: int
    created_at: datetime
    sha256: str = Field(description="Of the artifact.")
    size_bytes: int
    inputs: list[InputTensor]
    outputs: list[OutputTensor]
    metrics: dict[str, float]
    training: TrainingDocument | None
    packages: dict[str, str]
    has_report: bool

    @classmethod
    def of(cls, manifest: ModelManifest) -> "VersionDocument":
        """The document of a version."""
        training = manifest.training
        return cls(
            name=manifest.name,
            version=manifest.version,
            created_at=manifest.created_at,
            sha256=manifest.digest,
            size_bytes=manifest.artifact.size_bytes,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            metrics=manifest.metrics,
            training=None if training is None else TrainingDocument(**training.model_dump()),
            packages=manifest.packages,
            has_report=keys.REPORT_PAGE in manifest.files,
        )


class VersionListDocument(BaseModel):
    """The versions of a model, the newest first."""

    data: list[VersionDocument]
