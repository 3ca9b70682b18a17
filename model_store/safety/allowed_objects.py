"""Code of others that an operator lets models use: layers, models, functions, by name.

An entry is `Registered>Name=package.module:Name`, for what is registered with
`keras.saving.register_keras_serializable` wherever the file says it was defined, or
`package.module:ClassName`, for a class that the file itself names so.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fornada.errors import ConfigError

_NAME = r"[A-Za-z_]\w*"
_TARGET = re.compile(rf"{_NAME}(\.{_NAME})*:{_NAME}", re.ASCII)
_REGISTERED = re.compile(r"[\w .\-/]+(>[\w .\-/]+)?")


def check_entries(entries: Collection[str], *, setting: str) -> None:
    """Check how the entries of a setting are written.

    Raises:
        ConfigError: One is written otherwise, or two give one name to different objects.
    """
    targets: dict[str, str] = {}
    for entry in entries:
        registered, _, target = entry.rpartition("=")
        if _TARGET.fullmatch(target) is None or (
            "=" in entry and _REGISTERED.fullmatch(registered) is None
        ):
            raise ConfigError(
                f"{setting} has {entry!r}; write Registered>Name=package.module:Name or "
                "package.module:ClassName, separated by commas"
            )
        if registered and targets.setdefault(registered, target) != target:
            raise ConfigError(f"{setting} gives {registered!r} two meanings; keep one of them")


@dataclass(frozen=True, slots=True)
class AllowedObjects:
    """Allowed objects, by the names that a configuration gives them."""

    #: `module:Name` by registered name.
    registered: Mapping[str, str]
    #: Classes that a file names itself, as `module:Name`.
    classes: frozenset[str]

    @classmethod
    def of(cls, entries: Collection[str]) -> "AllowedObjects":
        """The objects of `entries`, as `Trust.allowed_objects` has them."""
        pairs = [entry.rpartition("=") for entry in entries]
        return cls(
            registered={name: target for name, _, target in pairs if name},
            classes=frozenset(target for name, _, target in pairs if not name),
        )

    def target(self, node: dict[str, Any]) -> str | None:
        """Where an object of a configuration is imported from, if it is allowed."""
        registered = _given_name(node)
        if registered is not None and registered in self.registered:
            return self.registered[registered]
        target = f"{node.get('module')}:{node.get('class_name')}"
        return target if target in self.classes else None

    def lookup_name(self, node: dict[str, Any]) -> str | None:
        """The name under which Keras looks up an allowed object, if it may be called so."""
        registered = _given_name(node)
        if registered in self.registered:
            return registered
        if registered is None or registered.rpartition(">")[2] != node["class_name"]:
            return None
        return registered

    def called(self, text: str) -> dict[str, str]:
        """The object that Keras finds where a configuration has this registered name as text."""
        return {text: self.registered[text]} if ">" in text and text in self.registered else {}

    @staticmethod
    def line_for(node: dict[str, Any]) -> str:
        """The entry that would allow an object of a configuration."""
        module, name, registered = node.get("module"), node["class_name"], _given_name(node)
        if module is None or module == "__main__":
            return f"{registered}=MODULE:{name}"
        if registered is None or registered == name:
            return f"{module}:{name}"
        return f"{registered}={module}:{name}"


def _given_name(node: dict[str, Any]) -> str | None:
    name = (
        node.get("config") if node.get("class_name") == "function" else node.get("registered_name")
    )
    return name if isinstance(name, str) else None
