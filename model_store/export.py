"""Copy a model version out of the store with every byte checked, or only check it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fornada import keys
from fornada.errors import (
    FornadaError,
    IntegrityError,
    LocalDiskError,
    MissingExtraError,
    ModelRefusedError,
    ObjectNotFoundError,
    UsageError,
)
from fornada.files.refusals import what_helps
from fornada.records import ObjectRef
from model_store.golden_batch import golden_suffix
from model_store.manifest import ModelManifest
from model_store.safety.artifact_check import check_artifact
from model_store.scratch import scratch_folder
from model_store.store import ModelStore

_ARTIFACT = "model.keras"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFinding:
    """The result of checking one file of a version."""

    file: str
    status: Literal["ok", "wrong", "skip"]
    detail: str


def files_of(manifest: ModelManifest) -> Mapping[str, ObjectRef]:
    """Every object that a manifest names, by file name."""
    return {
        _ARTIFACT: manifest.artifact,
        f"golden-inputs.{golden_suffix(manifest.inputs)}": manifest.golden.inputs,
        f"golden-outputs.{golden_suffix(manifest.outputs)}": manifest.golden.outputs,
        **manifest.files,
    }


def export_version(manifest: ModelManifest, folder: Path, *, models: ModelStore) -> list[Path]:
    """Write all files of a version into `folder`: artifact, golden batch, manifest and others.

    Returns:
        The files written.

    Raises:
        UsageError: The folder is not empty, or a file name is not valid.
        IntegrityError: An object is not what the manifest says.
        LocalDiskError: The folder cannot be written.
    """
    paths = _write_all(files_of(manifest), folder, models=models)
    # Written last: where it is, all the others are.
    paths.append(folder / "manifest.json")
    with _disk_errors(paths[-1]):
        paths[-1].write_bytes(models.manifest_bytes(manifest))
    return paths


def export_report(manifest: ModelManifest, folder: Path, *, models: ModelStore) -> list[Path]:
    """Write the training report of a version and its figures into `folder`.

    Returns:
        The files written, the page first.

    Raises:
        UsageError: The version has no report, the folder is not empty, or a file name is not valid.
        IntegrityError: An object is not what the manifest says.
        LocalDiskError: The folder cannot be written.
    """
    page = manifest.files.get(keys.REPORT_PAGE)
    if page is None:
        raise UsageError(
            f"{manifest} has no report; `fornada train` makes one, and models published as files "
            "have none"
        )
    figures = {name: ref for name, ref in manifest.files.items() if name.endswith(".png")}
    return _write_all({keys.REPORT_PAGE: page, **figures}, folder, models=models)


def check_version(manifest: ModelManifest, *, models: ModelStore) -> Iterator[FileFinding]:
    """Read every object of a version and compare it with the manifest.

    Where h5py is installed, the artifact's contents are checked as before every load. Nothing is
    predicted.

    Raises:
        StoreError: The store cannot be reached or refuses.
    """
    for name, ref in files_of(manifest).items():
        with scratch_folder() as folder:
            try:
                models.download(ref, folder / "file")
            except (IntegrityError, ObjectNotFoundError) as exc:
                yield FileFinding(file=name, status="wrong", detail=str(exc))
                continue
            detail = f"{ref.size_bytes} bytes, sha256 as recorded"
            yield FileFinding(file=name, status="ok", detail=detail)
            if name == _ARTIFACT:
                yield _contents(folder / "file", models)


def _write_all(files: Mapping[str, ObjectRef], folder: Path, *, models: ModelStore) -> list[Path]:
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; name a new folder")
    paths = []
    for name, ref in files.items():
        paths.append(folder / keys.check_name("file name", name))
        with _disk_errors(paths[-1]):
            folder.mkdir(parents=True, exist_ok=True)
            models.download(ref, paths[-1])
    return paths


def _contents(artifact: Path, models: ModelStore) -> FileFinding:
    where = "contents of model.keras"
    try:
        check_artifact(artifact, where="it", allowed_objects=models.trust.allowed_objects)
    except ModelRefusedError as exc:
        return FileFinding(file=where, status="wrong", detail=str(exc))
    except MissingExtraError as exc:
        return FileFinding(file=where, status="skip", detail=str(exc))
    return FileFinding(file=where, status="ok", detail="weights and allowed layers only")


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FornadaError:
        raise
    except OSError as exc:
        raise LocalDiskError(
            f"{path} cannot be written ({exc.strerror or exc}); {what_helps(exc)}, or name another "
            "folder"
        ) from exc
