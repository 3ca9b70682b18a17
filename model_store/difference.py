"""What differs between two model versions, according to their manifests."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from model_store.manifest import ModelManifest

#: Differs between any two versions, and says nothing about the models.
_ALWAYS_DIFFERS = ("version", "created_at")


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One fact in which two versions differ; `None` where one lacks it."""

    fact: str
    first: Any
    second: Any

    @property
    def change(self) -> float | None:
        """How much a number grew; `None` for anything else."""
        if _is_number(self.first) and _is_number(self.second):
            return float(self.second) - float(self.first)
        return None


def differences(first: ModelManifest, second: ModelManifest) -> list[Difference]:
    """Every fact in which two manifests differ, metrics included, in the order of the first."""
    facts = dict(_facts(first)), dict(_facts(second))
    return [
        Difference(fact=fact, first=facts[0].get(fact), second=facts[1].get(fact))
        for fact in dict.fromkeys([*facts[0], *facts[1]])
        if facts[0].get(fact) != facts[1].get(fact)
    ]


def _facts(manifest: ModelManifest) -> Iterator[tuple[str, Any]]:
    plain = json.loads(manifest.to_json())
    # Compared by content, since keys contain the version.
    for name in ("artifact", "golden", "files"):
        plain.pop(name, None)
    for name in _ALWAYS_DIFFERS:
        plain.pop(name)
    for side in ("input", "output"):
        for number, tensor in enumerate(plain.pop(f"{side}s")):
            yield from _flat(tensor, f"{side}_{number}" if number else side)
    yield from _flat(plain, "")
    yield "artifact.sha256", manifest.artifact.sha256
    yield "artifact.size_bytes", manifest.artifact.size_bytes
    yield "golden_inputs.sha256", manifest.golden.inputs.sha256
    yield "golden_outputs.sha256", manifest.golden.outputs.sha256


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _flat(below, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
