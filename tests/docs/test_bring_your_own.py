"""The pages on one's own models and data run from top to bottom."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pyarrow import parquet
from safetensors.numpy import load_file

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
    said = _run_with_worker("photographs.md", environ, tmp_path)

    # The second of the files in their order is empty.
    assert "[True, False, True, True]" in said
    assert '"item_id": "broken.jpg", "reason": "broken.jpg is an empty file' in said
    rows = (tmp_path / "photos.csv").read_text(encoding="utf-8").splitlines()
    assert ["item_id", "IMG_1.jpg", "broken.jpg", "trip/3.webp", "trip/IMG_2.png"] == [
        row.partition(",")[0] for row in rows
    ]


def test_score_a_table(environ: dict[str, str], tmp_path: Path) -> None:
    _run_with_worker("tables.md", environ, tmp_path)

    rows = (tmp_path / "churn.csv").read_text(encoding="utf-8").splitlines()
    assert ("item_id,label,score", "C-0000", 1001) == (
        rows[0][:19],
        rows[1].partition(",")[0],
        len(rows),
    )
    assert {"item_id", "age", "plan", "score"} <= _columns(tmp_path / "scored.parquet")


def test_the_example_of_a_table(environ: dict[str, str], tmp_path: Path) -> None:
    example = _DOCS.parent / "examples" / "table.py"

    said = _with_worker(
        environ, lambda: _run(f"```sh\n$ python {example}\n```\n", environ, tmp_path)
    )

    found = re.search(r"442 patients scored, those held out wrong by (\d+) on average", said)
    assert found is not None, said
    # What workers score is what Keras scored.
    assert f"published diabetes:1: wrong by {found[1]} on average" in said


def test_several_inputs_and_outputs(environ: dict[str, str], tmp_path: Path) -> None:
    said = _run_with_worker("several-inputs-and-outputs.md", environ, tmp_path)

    assert "it gives price: 1 value" in said
    assert "{7: \"NaN or infinity among its values of 'facts'\"}" in said
    assert "(100, 1)" in said
    assert "(2, 3)" in said
    assert {"price", "room.label", "room.score"} <= _columns(tmp_path / "homes.parquet")


def test_text(environ: dict[str, str], tmp_path: Path) -> None:
    said = _run_with_worker("text.md", environ, tmp_path)

    assert "['good', 'bad', None, " in said
    assert "{2: 'null among its texts'}" in said
    # What the page says that the last job's errors are.
    assert "{3: 'the model failed on it: indices[0,0] = 700 is not in [0, 500)', 4: 'it" in said
    assert {"review", "label", "p_good"} <= _columns(tmp_path / "opinions.parquet")


def test_masks_and_boxes(environ: dict[str, str], tmp_path: Path) -> None:
    said = _run_with_worker("masks-and-boxes.md", environ, tmp_path)

    assert "['a.png', 'b.png', 'broken.png']" in said
    assert "[(64, 48, 1), (40, 40, 1), (0, 0, 1)]" in said
    assert "(3, 5, 4)" in said
    assert {"mask", "boxes", "stained.label"} <= _columns(tmp_path / "cells.parquet")
    assert {"mask.values", "mask.shapes", "boxes"} <= set(load_file(tmp_path / "cells.safetensors"))


def _columns(path: Path) -> set[str]:
    return set(parquet.read_schema(path).names)


def _run_with_worker(page: str, environ: dict[str, str], folder: Path) -> str:
    text = (_DOCS / page).read_text(encoding="utf-8")
    return _with_worker(environ, lambda: _run(text, environ, folder))


def _with_worker(environ: dict[str, str], run: Callable[[], str]) -> str:
    """What `run` returns while a worker runs."""
    worker = subprocess.Popen([sys.executable, "-m", "fornada", "worker"], env=environ)
    try:
        return run()
    finally:
        worker.terminate()
        worker.wait()


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
