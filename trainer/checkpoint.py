"""The state of a training after each epoch, in one file to resume from."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from fornada.errors import UsageError
from fornada.formats.items import Array
from fornada.records import Record, Sha256
from trainer.data.files import PARTS, write_file

_FILE = "training.npz"
_PROGRESS = "progress"
#: Prefixes of the arrays in the file: of the model, its optimizer, and the best epoch's weights.
_GROUPS = ("model", "optimizer", "best")


class TrainingProgress(Record):
    """The state of a training apart from its weights."""

    schema_version: int = Field(default=1, ge=1, le=1)
    #: Digest of plan, data and packages: only the same training resumes.
    identity: Sha256
    epochs_done: int = Field(default=0, ge=0)
    #: Curves by name, one value per epoch.
    history: dict[str, list[float]] = Field(default_factory=dict)
    #: The epoch, from 1, with the lowest validation loss; and that loss.
    best_epoch: int | None = None
    best_loss: float | None = None
    ended: bool = False


class Checkpoint:
    """`training.npz` in the caller's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE

    def load(self, identity: str, model: Any) -> tuple[TrainingProgress, list[Array] | None] | None:
        """Restore `model` and its optimizer; return the progress and the best weights.

        `None` if there is no checkpoint.

        Raises:
            UsageError: It belongs to another training, or is damaged.
        """
        if not self._path.exists():
            return None
        with self._readable() as arrays:
            progress = TrainingProgress.from_json(
                arrays[_PROGRESS].tobytes(), where=str(self._path)
            )
            if progress.identity != identity:
                raise UsageError(
                    f"{self._path} belongs to a training with another plan, other data or other "
                    "packages; name another folder, or delete it to start over"
                )
            stored = {
                group: [arrays[name] for name in sorted(arrays.files) if name.startswith(group)]
                for group in _GROUPS
            }
            put_weights(model.variables, stored["model"])
            put_weights(model.optimizer.variables, stored["optimizer"])
        return progress, stored["best"] or None

    def save(self, progress: TrainingProgress, model: Any, best: Sequence[Array] | None) -> None:
        """Write the state; the previous epoch's file stays until this one is complete.

        Raises:
            LocalDiskError: The disk is full or refuses.
        """
        groups = {
            "model": weights_of(model.variables),
            "optimizer": weights_of(model.optimizer.variables),
            "best": best or [],
        }
        arrays = {
            f"{group}{number:06}": array
            for group, members in groups.items()
            for number, array in enumerate(members)
        }
        buffer = io.BytesIO()
        np.savez(
            buffer,
            allow_pickle=False,
            **{_PROGRESS: np.frombuffer(progress.to_json(), np.uint8)},
            **arrays,
        )
        write_file(self._path, buffer.getvalue())

    def prepare(self) -> None:
        """Create the folder, and delete partial files.

        Raises:
            UsageError: It cannot be created, or is a file.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A killed process may have left one.
            for part in self._path.parent.glob(PARTS):
                part.unlink()
        except OSError as exc:
            raise UsageError(
                f"{self._path.parent} cannot be created ({exc.strerror}); name another folder"
            ) from exc

    def delete(self) -> None:
        """Delete the state of a training that is published."""
        self._path.unlink(missing_ok=True)

    @contextmanager
    def _readable(self) -> Iterator[Any]:
        try:
            # NumPy leaves the file open if it is not an archive; so it gets bytes.
            with np.load(io.BytesIO(self._path.read_bytes()), allow_pickle=False) as arrays:
                yield arrays
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
            if isinstance(exc, UsageError):
                raise
            raise UsageError(
                f"{self._path} is not a checkpoint, or is damaged ({exc}); delete it to start over"
            ) from exc


def weights_of(variables: Sequence[Any]) -> list[Array]:
    """Copies of the values of Keras variables."""
    return [np.array(variable.numpy()) for variable in variables]


def put_weights(variables: Sequence[Any], weights: Sequence[Array]) -> None:
    """Set Keras variables to what `weights_of` returned.

    Raises:
        ValueError: The shapes differ.
    """
    if [tuple(variable.shape) for variable in variables] != [each.shape for each in weights]:
        raise ValueError("its weights belong to another network")
    for variable, value in zip(variables, weights, strict=True):
        variable.assign(value)


def identity_of(**parts: Any) -> str:
    """Digest of what makes a training the same."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
