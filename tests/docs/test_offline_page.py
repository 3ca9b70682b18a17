"""The commands of the page on containers without a network run, here without the containers."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations" / "offline.md").read_text(encoding="utf-8")
#: In place of the page's own: what would run in the container.
HERE = 'here() { shift; fornada "$@"; }\n'

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def _commands(heading: str, folder: Path) -> str:
    """The commands of a section, with its mounted folders where they are outside."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    calls = re.findall(r"^here \w+ .*$", block, re.MULTILINE)
    return "\n".join(re.sub(r" /(in|out)\b", rf" {folder}/\1", call) for call in calls)


def test_files_go_in_and_results_come_out(environ: dict[str, str], tmp_path: Path) -> None:
    # Given
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    with (tmp_path / "in" / "customers.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["customer", "age", "churned"])
        for number, age in enumerate(np.random.default_rng(0).integers(18, 90, 200)):
            table.writerow([f"C-{number}", age, "yes" if age < 40 else "no"])
    trained = "fornada train --dataset=digits --name=digits --promote=prod\n"
    files = _commands("Files in and out", tmp_path)
    own = _commands("Your own data", tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"

    # When
    worker = subprocess.Popen([sys.executable, "-m", "fornada", "worker"], env=environ)
    try:
        run = subprocess.run(
            ["bash", "-ec", f"{trained}{HERE}{files}\n{own}"],
            env={**environ, "PATH": path},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    finally:
        worker.terminate()
        worker.wait()

    # Then
    assert 0 == run.returncode, run.stderr
    out = tmp_path / "out"
    assert 361 == len((out / "digits.csv").read_text(encoding="utf-8").splitlines())
    assert (360, 10) == np.load(out / "probabilities.npy").shape
    assert "of 360 items right" in run.stdout
    made = {"digits.png", "report/report.html", "churn.parquet"}
    assert made == {name for name in made if (out / name).is_file()}
