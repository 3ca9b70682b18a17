"""How far a training is, kept in one file after each epoch, to go on from when it was ended."""

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
#: What a model, its optimizer and the weights of the best epoch are called in the file.
_GROUPS = ("model", "optimizer", "best")


class TrainingProgress(Record):
    """How far a training is, beside its weights."""

    schema_version: int = Field(default=1, ge=1, le=1)
    #: Of plan, data and packages: only the same training goes on.
    identity: Sha256
    epochs_done: int = Field(default=0, ge=0)
    #: Curves by name, one value an epoch.
    history: dict[str, list[float]] = Field(default_factory=dict)
    #: The epoch, from 1, with the lowest validation loss, and that loss.
    best_epoch: int | None = None
    best_loss: float | None = None
    ended: bool = False


class Checkpoint:
    """`training.npz` in a folder of the caller's."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE

    def load(self, identity: str, model: Any) -> tuple[TrainingProgress, list[Array] | None] | None:
        """Put weights and optimizer back into `model`; return how far it was, and the best weights.

        `None` where there is nothing to go on from.

        Raises:
            UsageError: It is of another training, or no longer whole.
        """
        if not self._path.exists():
            return None
        with self._readable() as arrays:
            progress = TrainingProgress.from_json(
                arrays[_PROGRESS].tobytes(), where=str(self._path)
            )
            if progress.identity != identity:
                raise UsageError(
                    f"{self._path} is of a training with another plan, other data or other "
                    "packages; name another folder, or delete it to begin anew"
                )
            kept = {group: list(_group(arrays, group)) for group in _GROUPS}
            for variables, values in (
                (model.variables, kept["model"]),
                (model.optimizer.variables, kept["optimizer"]),
            ):
                _assign(variables, values)
        return progress, kept["best"] or None

    def save(self, progress: TrainingProgress, model: Any, best: Sequence[Array] | None) -> None:
        """Keep it; the file of the epoch before is there until this one is whole.

        Raises:
            LocalDiskError: The disk is full, or refuses.
        """
        groups = {
            "model": _values(model.variables),
            "optimizer": _values(model.optimizer.variables),
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
        """Make the folder, and clear it of what is of no use.

        Raises:
            UsageError: There is a file in its place, or it cannot be made.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # What a process that was killed had begun to write.
            for part in self._path.parent.glob(PARTS):
                part.unlink()
        except OSError as exc:
            raise UsageError(
                f"{self._path.parent} cannot be made ({exc.strerror}); name another folder"
            ) from exc

    def delete(self) -> None:
        """The training is over, and published."""
        self._path.unlink(missing_ok=True)

    @contextmanager
    def _readable(self) -> Iterator[Any]:
        try:
            # Of a file that is no archive, NumPy would leave the descriptor open.
            with np.load(io.BytesIO(self._path.read_bytes()), allow_pickle=False) as arrays:
                yield arrays
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
            if isinstance(exc, UsageError):
                raise
            raise UsageError(
                f"{self._path} is no checkpoint, or is damaged ({exc}); delete it to begin anew"
            ) from exc


def weights_of(model: Any) -> list[Array]:
    """Copies of all that `model` has learnt."""
    return _values(model.variables)


def put_weights(model: Any, weights: Sequence[Array]) -> None:
    """Give `model` what `weights_of` returned."""
    _assign(model.variables, weights)


def identity_of(**parts: Any) -> str:
    """Digest of what a training is."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _group(arrays: Any, group: str) -> Iterator[Array]:
    for name in sorted(arrays.files):
        if name.startswith(group):
            yield arrays[name]


def _values(variables: Sequence[Any]) -> list[Array]:
    return [np.array(variable.numpy()) for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[Array]) -> None:
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise ValueError("its weights are of another network")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
