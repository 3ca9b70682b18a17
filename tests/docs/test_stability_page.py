"""What docs/reference/stability.md promises is what there is to promise."""

import importlib
import json
import re
from pathlib import Path

_REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
_PAGE = (_REFERENCE / "stability.md").read_text(encoding="utf-8")


def test_every_path_over_http_has_a_version_that_the_page_names() -> None:
    paths = json.loads((_REFERENCE / "openapi.json").read_text(encoding="utf-8"))["paths"]
    promised = re.findall(r"^\| HTTP, `(/v\d)`", _PAGE, re.MULTILINE)

    # Probes of whatever runs the gateway have fixed places.
    others = set(paths) - {"/healthz", "/readyz", "/metrics"}
    assert ["/v1", "/v2"] == promised
    assert [] == [path for path in others if f"/{path.split('/')[1]}" not in promised]


def test_the_python_that_it_promises_is_public_and_documented() -> None:
    (row,) = re.findall(r"^\| Python \|(.*)$", _PAGE, re.MULTILINE)
    packages = re.findall(r"`(\w+)`", row.partition("__all__")[2].partition(",")[0])
    python = (_REFERENCE / "python.md").read_text(encoding="utf-8")
    training = (_REFERENCE.parent / "training.md").read_text(encoding="utf-8")

    assert ["producer", "model_store"] == packages
    for package in packages:
        module = importlib.import_module(package)
        names = list(module.__all__)
        assert names
        assert [] == [name for name in names if not hasattr(module, name)]
        assert [] == [name for name in names if name not in python + training], package
    assert callable(importlib.import_module("producer.testing").in_memory_client)
