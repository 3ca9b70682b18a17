"""Loaded by the interpreter of a worker process as it starts: lets the tests break it from within.

Does nothing where FAULT_POINTS_DIR is not set, and hides no other module of this name.
"""

import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def _run_hidden() -> None:
    """Run the one that the interpreter would have loaded without us."""
    others = [entry for entry in sys.path if Path(entry).resolve() != _HERE]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if "FAULT_POINTS_DIR" in os.environ:
    import fault_points

    fault_points.install(Path(os.environ["FAULT_POINTS_DIR"]))
_run_hidden()
