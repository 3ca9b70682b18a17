"""The options of `fornada train` from a YAML file."""

import difflib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fornada.errors import MissingExtraError, UsageError

_MAX_BYTES = 1024 * 1024


class TrainingFile(BaseModel):
    """The options of the command, with `_` for `-`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    dataset: str | None = None
    data: str | None = None
    target: str | None = None
    drop: list[str] | None = None
    kind: str | None = None
    image_size: str | None = None
    resize: str | None = None
    strict: bool | None = None
    name: str | None = None
    recipe: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    loss: str | None = None
    metric: list[str] | None = None
    validation_split: float | None = None
    seed: int | None = None
    early_stopping: int | None = None
    keep_best: bool | None = None
    checkpoint: str | None = None
    gate: list[str] | None = None
    register_only_if_better: bool | None = None
    promote: str | None = None
    if_missing: bool | None = None


def read_training_file(path: Path) -> dict[str, Any]:
    """Read the options in a file, by name.

    Raises:
        UsageError: It cannot be read, is not a YAML mapping, or has an unknown option or value.
        MissingExtraError: PyYAML is not installed.
    """
    try:
        import yaml  # noqa: PLC0415 - optional package
    except ImportError as exc:
        raise MissingExtraError(
            "a training file needs PyYAML; run: pip install 'fornada[train]'"
        ) from exc
    try:
        data = path.read_bytes()
        given = yaml.safe_load(data) if len(data) <= _MAX_BYTES else None
    except OSError as exc:
        raise UsageError(f"{path} cannot be read ({exc.strerror}); check the path") from exc
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as exc:
        raise UsageError(f"{path} is not YAML: {' '.join(str(exc).split())[:300]}") from exc
    if not isinstance(given, dict):
        raise UsageError(
            f"{path} is not a YAML mapping of options to values, such as 'dataset: digits'"
        )
    for name in given:
        if name not in TrainingFile.model_fields:
            raise UsageError(f"{path} has {name!r}, which is not an option; {_hint(str(name))}")
    try:
        stated = TrainingFile.model_validate(given)
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, error["loc"]))
        raise UsageError(f"{path}: {where} is invalid: {error['msg']}") from exc
    return stated.model_dump(exclude_none=True)


def _hint(name: str) -> str:
    known = list(TrainingFile.model_fields)
    near = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f"did you mean {near[0]}?" if near else f"choose from: {', '.join(known)}"
