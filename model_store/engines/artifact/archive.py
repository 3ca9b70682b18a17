"""The archive of a `.keras` file: written again with another configuration, or without dates."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import Any

_CONFIG = "config.json"
#: The oldest date a zip can hold: the bytes must not depend on when they were written.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def read_config(data: bytes) -> Any:
    """The configuration in a `.keras` file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return json.loads(archive.read(_CONFIG))


def with_config(data: bytes, change: Callable[[Any], Any]) -> bytes:
    """The same `.keras` file with a changed configuration; the weights keep their values.

    Args:
        data: The whole file.
        change: From the configuration to the new one; may return it as it was.
    """
    config = read_config(data)
    changed = change(config)
    if changed == config:
        return data
    return _rewritten(
        data, lambda name, content: json.dumps(changed).encode() if name == _CONFIG else content
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


def normalise_archive(data: bytes) -> bytes:
    """The same `.keras` file without dates and memory addresses."""

    def normalise(name: str, content: bytes) -> bytes:
        if name == _CONFIG:
            return _renumber_shared_ids(content)
        if name == "metadata.json":
            return json.dumps({"keras_version": json.loads(content)["keras_version"]}).encode()
        return content

    return _rewritten(data, normalise)


def _rewritten(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(buffer, "w") as written:
        for name in sorted(given.namelist()):
            if not name.endswith("/"):
                content = change(name, given.read(name))
                written.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), content)
    return buffer.getvalue()


def _renumber_shared_ids(config: bytes) -> bytes:
    # Keras writes id(object), and uses it only to tell objects apart.
    numbers: dict[bytes, int] = {}

    def number(match: re.Match[bytes]) -> bytes:
        return match[1] + str(numbers.setdefault(match[2], len(numbers) + 1)).encode()

    return re.sub(rb'("shared_object_id": )(\d+)', number, config)
