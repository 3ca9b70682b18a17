"""What the README tells a newcomer to type works, as it stands there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fornada.local.stack import Stack

_ROOT = Path(__file__).parent.parent.parent
_SAMPLE = _ROOT.parent / "shared" / "data" / "fashion-mnist-sample"
_README = (_ROOT / "README.md").read_text()
_TABLE = _README.split("## Use it from the command line")[1].split("\n## ")[0]
#: Cells hold one command, or `fornada jobs list` · `show` · … that share a beginning.
_CELLS = [
    re.findall(r"`([^`]+)`", row.split("|")[1]) for row in _TABLE.splitlines()[4:] if "|" in row
]
_LONG_RUNNING = ("fornada up", "fornada worker")
_RUN_BY_A_FIXTURE = ("fornada train",)
_NOT_OF_A_JOB_THAT_WENT_WELL = ("fornada jobs retry-failed", "fornada jobs resume")

pytestmark = pytest.mark.skipif(not _SAMPLE.exists(), reason="needs the Fashion-MNIST sample")


def _commands() -> list[str]:
    commands: list[str] = []
    for first, *others in (cell for cell in _CELLS if cell):
        group = first.split()[1]
        wholes = (other if other.startswith(group) else f"{group} {other}" for other in others)
        commands += [first, *(f"fornada {whole}" for whole in wholes)]
    return [command for command in commands if command.startswith("fornada")]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a worker, and Fashion-MNIST's sample where Keras looks for it."""
    folder = tmp_path_factory.mktemp("readme")
    cache = folder / "keras" / "datasets" / "fashion-mnist"
    cache.mkdir(parents=True)
    for path in _SAMPLE.glob("*.gz"):
        shutil.copy(path, cache)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FORNADA_")}
    environ["KERAS_HOME"] = str(folder / "keras")
    with Stack(data_dir=folder / "stack", workers=1, environ=environ) as stack:
        yield stack


@pytest.fixture(scope="module")
def environ(stack: Stack) -> dict[str, str]:
    """The environment that `fornada up` tells the reader to export."""
    keras_home = str(stack.data_dir.parent / "keras")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **stack.environ, "KERAS_HOME": keras_home, "PATH": path}


@pytest.fixture(scope="module")
def model(environ: dict[str, str]) -> str:
    """The model that the README talks of, made as it says."""
    (train,) = [command for command in _commands() if command.startswith("fornada train")]
    subprocess.run(shlex.split(train), env=environ, check=True, capture_output=True, timeout=120)
    return "fashion-mnist@prod"


def test_commands_of_the_table_work_one_after_the_other(
    environ: dict[str, str], model: str, tmp_path: Path
) -> None:
    # Given
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(5):
        pixels = np.full((28, 28), number * 40, np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    job_id = ""

    for command in _commands():
        # A job that went well cannot be retried or resumed; tests of their own show both.
        if command.startswith((*_LONG_RUNNING, *_RUN_BY_A_FIXTURE, *_NOT_OF_A_JOB_THAT_WENT_WELL)):
            continue

        # When
        run = subprocess.run(
            shlex.split(command.replace("JOB", job_id)),
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

        # Then
        assert 0 == run.returncode, f"{command}: {run.stderr}"
        if command.startswith("fornada submit"):
            found = re.search(r"submitted job (\S+)", run.stderr)
            assert found is not None
            job_id = found[1]
    assert (tmp_path / "r.parquet").exists()
    assert "fornada doctor" in _commands()


@pytest.mark.parametrize("command", [c for c in _commands() if c.startswith(_LONG_RUNNING)])
def test_long_running_command_takes_the_options_that_it_is_shown_with(
    command: str, environ: dict[str, str]
) -> None:
    # When: tests of their own start and stop both; here it is about what the README says
    run = subprocess.run([*shlex.split(command), "--help"], env=environ, capture_output=True)

    # Then
    assert 0 == run.returncode


def test_python_snippet_gives_probabilities(environ: dict[str, str], model: str) -> None:
    # Given
    blocks = re.findall(r"```python\n(.*?)```", _README, re.DOTALL)
    (snippet,) = [block for block in blocks if "Client.from_env" in block]
    script = (
        "import numpy as np\nimages = np.zeros((3, 28, 28), np.uint8)\n"
        + snippet
        + "\nprint(job.results().probabilities.shape)"
    )
    # When
    run = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=90
    )

    # Then
    assert "(3, 10)" == run.stdout.strip(), run.stderr


def test_make_targets_and_compose_services_exist() -> None:
    # Given
    typed = re.findall(r"^\$ (.+)$", _README, re.MULTILINE)
    targets = re.findall(r"^([a-z]+):", (_ROOT / "Makefile").read_text(), re.MULTILINE)
    compose = (_ROOT / "docker-compose.yml").read_text()

    # Then
    assert [] == [t for t in typed if t.startswith("make ") and t.split()[1] not in targets]
    assert [] == [s for s in ("worker", "producer") if f"\n  {s}:\n" not in compose]
    assert "docker compose up --detach --build --scale worker=4" in typed
