"""The section "Bring your own model" of docs/models.md runs from top to bottom."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_PAGE = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_section_runs_from_top_to_bottom(environ: dict[str, str], tmp_path: Path) -> None:
    # given
    text = _PAGE.read_text(encoding="utf-8")
    section = text.partition("## Bring your own model\n")[2].partition("\n## Publish\n")[0]
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    said, script = "", ""

    # when
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        script += block if language == "python" else ""
        # The other lines are what they print.
        commands = "\n".join(re.findall(r"^\$ (.*)$", block, re.MULTILINE))
        run = subprocess.run(
            [sys.executable, "-c", script] if language == "python" else ["bash", "-ec", commands],
            env={**environ, "PATH": path},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert 0 == run.returncode, f"{block}: {run.stderr}"
        said += run.stdout

    # then
    assert "published pets:1" in said
    assert "published pets:2" in said
    assert "predictions: probabilities of 3 classes" in said
    assert "predictions: 3 values" in said
    assert "pets@prod is it now" in said
