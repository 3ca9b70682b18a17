"""What a model was compiled for, in the configuration of its file: dropped if it cannot be named.

No prediction needs a loss. A lambda as loss or metric is code in the file, which no check passes.
"""

import json
from pathlib import Path
from typing import Any

from fornada.errors import ModelRefusedError
from fornada.storage.interface import Content
from model_store.engines.artifact.archive import write_with_config
from model_store.safety.artifact_check import CONFIG, UNREADABLE, checked_archive
from model_store.safety.config_check import check_config, walk

#: What to say of such a model, after its name.
DROPPED = (
    "was compiled with code, such as a lambda as loss; it is published without its loss, metrics "
    "and optimizer, which no prediction needs"
)
_KEY = "compile_config"
_EMPTY_MODEL = {"module": "keras", "class_name": "Sequential", "config": {}}


def named_alone(artifact: Content, folder: Path, *, where: str) -> Content:
    """The file as it is; or another one in `folder`, without what it was compiled for.

    Raises:
        ModelRefusedError: Its members are not those of a `.keras` file.
    """
    try:
        with checked_archive(artifact, where=where) as archive:
            config = json.loads(archive.read(CONFIG))
    except UNREADABLE:
        # The check of what is loaded says so.
        return artifact
    if not drop_unnamed(config):
        return artifact
    changed = folder / "without-compile-state.keras"
    write_with_config(artifact, config, changed)
    return changed


def drop_unnamed(config: Any) -> bool:
    """Drop what a model, or one in it, was compiled for, where a check would refuse it.

    Returns:
        Whether something was dropped; the configuration is changed in place.
    """
    found = False
    for node, in_compile, _ in walk(config):
        if isinstance(node, dict) and not in_compile and _is_unnamed(node.get(_KEY)):
            node[_KEY] = None
            found = True
    return found


def _is_unnamed(compile_config: object) -> bool:
    if compile_config is None:
        return False
    alone = json.dumps({**_EMPTY_MODEL, _KEY: compile_config}).encode()
    try:
        check_config(alone, where="model")
    except ModelRefusedError:
        return True
    return False
