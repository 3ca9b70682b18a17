"""`fornada models report` copies the report out of the store, and opens it on request."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from model_store.testing import draft_for_test

_FILES = {"report.html": b"<!doctype html>", "calibration.png": b"PNG", "history.json": b"{}"}
_Report = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def publish(rclone_objects: Any) -> Callable[..., ModelManifest]:
    """`publish(files)`: a version of model `m` with these files beside it."""

    def published(files: dict[str, bytes]) -> ModelManifest:
        return ModelStore(objects=rclone_objects).publish(
            draft_for_test(name="m", item_shape=[2], item_dtype="uint8", classes=["a", "b"]),
            artifact=b"artifact",
            golden_inputs=np.zeros((1, 2), np.uint8),
            golden_outputs=np.zeros((1, 2), np.float32),
            files=files,
            check=lambda _: None,
        )

    return published


@pytest.fixture
def report(environ: dict[str, str], tmp_path: Path) -> _Report:
    """`report(…)`: the command, in a process whose browser records what it opens."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    (tmp_path / "tmp").mkdir()

    def reported(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "fornada", "models", "report", *arguments],
            env={**environ, "BROWSER": f"{browser} %s", "TMPDIR": str(tmp_path / "tmp")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return reported


def test_a_report_is_exported_and_not_opened_off_a_terminal(
    publish: Any, report: _Report, tmp_path: Path
) -> None:
    publish(_FILES)

    ended = report("m", "--output", "copy")

    assert (0, "") == (ended.returncode, ended.stderr)
    assert ["copy/report.html", "copy/calibration.png"] == ended.stdout.split()
    assert b"<!doctype html>" == (tmp_path / "copy" / "report.html").read_bytes()
    assert not (tmp_path / "opened").exists()


def test_a_report_is_opened_on_request_from_a_temporary_folder(
    publish: Any, report: _Report, tmp_path: Path
) -> None:
    publish(_FILES)

    ended = report("m:1", "--open", "--json")

    answer = json.loads(ended.stdout)
    assert ("m:1", True) == (answer["model"], answer["opened"])
    assert tmp_path / "tmp" in Path(answer["page"]).parents
    assert [answer["page"]] == answer["files"][:1]
    assert Path(answer["page"]).as_uri() == (tmp_path / "opened").read_text().strip()
