"""The archive of a `.keras` file: read, and written without dates or with another configuration."""

import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from fornada.storage.interface import Content
from model_store.safety.artifact_check import open_archive

_CONFIG, _METADATA = "config.json", "metadata.json"
#: The oldest date a zip can hold: the bytes must not depend on when they were written.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_PIECE_BYTES = 1024 * 1024


def read_config(artifact: Content) -> Any:
    """The configuration in a `.keras` file."""
    with open_archive(artifact) as archive:
        return json.loads(archive.read(_CONFIG))


def write_with_config(artifact: Content, config: Any, target: Path) -> None:
    """Write the same `.keras` file with another configuration into `target`."""
    with open_archive(artifact) as archive:
        members: dict[str, Callable[[], IO[bytes]]] = {
            name: lambda name=name: archive.open(name)  # type: ignore[misc]  # mypy: default argument
            for name in archive.namelist()
            if not name.endswith("/")
        }
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        changed = json.dumps(config).encode()
        members[_CONFIG], sizes[_CONFIG] = lambda: io.BytesIO(changed), len(changed)
        _write(target, members, sizes)


def write_normalised(folder: Path, target: Path, *, change: Callable[[Any], Any]) -> None:
    """Write what Keras saved into `folder` as a `.keras` file without dates and memory addresses.

    Args:
        folder: From `model.save(folder, zipped=False)`.
        target: The file.
        change: From the configuration to the one to write; may return it as it was.
    """
    config = (folder / _CONFIG).read_bytes()
    given = json.loads(config)
    changed = change(given)
    if changed != given:
        config = json.dumps(changed).encode()
    version = json.loads((folder / _METADATA).read_bytes())["keras_version"]
    (folder / _CONFIG).write_bytes(_renumber_shared_ids(config))
    (folder / _METADATA).write_text(json.dumps({"keras_version": version}))
    paths = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    _write(
        target,
        {name: lambda path=path: path.open("rb") for name, path in paths.items()},  # type: ignore[misc]  # as above
        {name: path.stat().st_size for name, path in paths.items()},
    )


def without_nested_compile_configs(config: Any) -> Any:
    """The configuration without what the models in a model were compiled for.

    Keras compiles them even with `compile=False`, metrics of any size included.
    """
    return {
        key: value if key == "compile_config" else _without_compile_configs(value)
        for key, value in config.items()
    }


def _without_compile_configs(config: Any) -> Any:
    if isinstance(config, list):
        return [_without_compile_configs(part) for part in config]
    if not isinstance(config, dict):
        return config
    return {
        key: _without_compile_configs(value)
        for key, value in config.items()
        if key != "compile_config"
    }


def _write(
    target: Path, members: Mapping[str, Callable[[], IO[bytes]]], sizes: Mapping[str, int]
) -> None:
    with zipfile.ZipFile(target, "w") as written:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _ZIP_EPOCH)
            # Says whether the entry needs the fields of large files.
            info.file_size = sizes[name]
            with members[name]() as source, written.open(info, "w") as member:
                shutil.copyfileobj(source, member, _PIECE_BYTES)


def _renumber_shared_ids(config: bytes) -> bytes:
    # Keras writes id(object), and uses it only to tell objects apart.
    numbers: dict[bytes, int] = {}

    def number(match: re.Match[bytes]) -> bytes:
        return match[1] + str(numbers.setdefault(match[2], len(numbers) + 1)).encode()

    return re.sub(rb'("shared_object_id": )(\d+)', number, config)
