"""The pages on one's own models, photographs and tables run from top to bottom."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

_DOCS = Path(__file__).parents[2] / "docs"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_bring_your_own_model(environ: dict[str, str], tmp_path: Path) -> None:
    page = (_DOCS / "models.md").read_text(encoding="utf-8")
    section = page.partition("## Bring your own model\n")[2].partition("\n## Publish\n")[0]

    said = _run(section, environ, tmp_path)

    assert "published pets:1" in said
    assert "published pets:2" in said
    assert "predictions: probabilities of 3 classes" in said
    assert "predictions: 3 values" in said
    assert "pets@prod points at it" in said


def test_bring_your_own_photographs(environ: dict[str, str], tmp_path: Path) -> None:
    page = (_DOCS / "photographs.md").read_text(encoding="utf-8")
    worker = subprocess.Popen([sys.executable, "-m", "fornada", "worker"], env=environ)

    try:
        said = _run(page, environ, tmp_path)
    finally:
        worker.terminate()
        worker.wait()

    # The second of the files in their order is empty.
    assert "[True, False, True, True]" in said
    assert '"item_id": "broken.jpg", "reason": "broken.jpg is an empty file' in said
    rows = (tmp_path / "photos.csv").read_text(encoding="utf-8").splitlines()
    assert ["item_id", "IMG_1.jpg", "broken.jpg", "trip/3.webp", "trip/IMG_2.png"] == [
        row.partition(",")[0] for row in rows
    ]


def test_score_a_table(environ: dict[str, str], tmp_path: Path) -> None:
    page = (_DOCS / "tables.md").read_text(encoding="utf-8")
    worker = subprocess.Popen([sys.executable, "-m", "fornada", "worker"], env=environ)

    try:
        _run(page, environ, tmp_path)
    finally:
        worker.terminate()
        worker.wait()

    rows = (tmp_path / "churn.csv").read_text(encoding="utf-8").splitlines()
    assert ("item_id,label,score", "C-0000", 1001) == (
        rows[0][:19],
        rows[1].partition(",")[0],
        len(rows),
    )
    assert {"item_id", "age", "plan", "score"} <= set(
        parquet.read_schema(tmp_path / "scored.parquet").names
    )


def _run(text: str, environ: dict[str, str], folder: Path) -> str:
    """What the blocks print, run in order; Python without imports continues the block before."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    said, script = "", ""
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            script = block if "import" in block else script + block
        # The other lines are what they print.
        commands = "\n".join(re.findall(r"^\$ (.*)$", block, re.MULTILINE))
        run = subprocess.run(
            [sys.executable, "-c", script] if language == "python" else ["bash", "-ec", commands],
            env={**environ, "PATH": path},
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert 0 == run.returncode, f"{block}: {run.stderr}"
        said += run.stdout
    return said
