"""The README's commands and its Python snippet run as they are printed there."""

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

from fornada.commands.local import _announce
from fornada.local.stack import Stack

from ..deployment import own_environ

_ROOT = Path(__file__).parents[2]
_SAMPLE = _ROOT.parent / "shared" / "data" / "fashion-mnist-sample"
_README = (_ROOT / "README.md").read_text()
_LONG_RUNNING = ("fornada up", "fornada worker")
#: Of a job that succeeded there is nothing to retry or resume; tests of their own show both.
_NOT_AFTER_SUCCESS = ("fornada jobs retry-failed", "fornada jobs resume")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _SAMPLE.exists(), reason="the Fashion-MNIST sample is not here"),
    # Training and the worker import TensorFlow.
    pytest.mark.timeout(400),
]


def _commands() -> list[str]:
    """The commands of the table, whose cells read `fornada jobs list` · `show JOB` · …."""
    commands: list[str] = []
    for row in re.findall(r"^\| (`fornada .*?) \|", _README, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", row)
        group = first.split()[1]
        wholes = (other if other.startswith(group) else f"{group} {other}" for other in others)
        commands += [first, *(f"fornada {whole}" for whole in wholes)]
    return commands


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a worker, and Fashion-MNIST's sample in Keras's cache."""
    folder = tmp_path_factory.mktemp("readme")
    cache = folder / "keras" / "datasets" / "fashion-mnist"
    cache.mkdir(parents=True)
    for path in _SAMPLE.glob("*.gz"):
        shutil.copy(path, cache)
    environ = {**own_environ(), "KERAS_HOME": str(folder / "keras")}
    with Stack(data_dir=folder / "stack", workers=1, gateway=True, environ=environ) as stack:
        yield stack


@pytest.fixture(scope="module")
def environ(stack: Stack) -> dict[str, str]:
    """The environment that `fornada up` tells the reader to export."""
    keras_home = str(stack.data_dir.parent / "keras")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **stack.environ, "KERAS_HOME": keras_home, "PATH": path}


@pytest.fixture(scope="module")
def model(environ: dict[str, str]) -> None:
    """The README's model, trained by the README's command."""
    (train,) = [command for command in _commands() if command.startswith("fornada train")]
    subprocess.run(shlex.split(train), env=environ, check=True, capture_output=True)


@pytest.mark.usefixtures("model")
def test_commands_of_the_table_work_one_after_the_other(
    environ: dict[str, str], tmp_path: Path
) -> None:
    # Given
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(5):
        pixels = np.full((28, 28), number * 40, np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    job_id = ""

    for command in _commands():
        if command.startswith(("fornada train", *_NOT_AFTER_SUCCESS)):
            continue

        # When
        arguments = shlex.split(command.replace("JOB", job_id))
        if command.startswith(_LONG_RUNNING):
            # Only its options are looked at.
            arguments.append("--help")
        run = subprocess.run(arguments, env=environ, cwd=tmp_path, capture_output=True, text=True)

        # Then
        assert 0 == run.returncode, f"{command}: {run.stderr}"
        if command.startswith("fornada submit"):
            found = re.search(r"submitted job (\S+)", run.stderr)
            assert found is not None
            job_id = found[1]
    assert (tmp_path / "r.parquet").exists()
    assert "fornada doctor" in _commands()


@pytest.mark.usefixtures("model")
def test_python_snippet_gives_probabilities(environ: dict[str, str]) -> None:
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
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True
    )

    # Then
    assert "(3, 10)" == run.stdout.strip(), run.stderr


def _section(title: str) -> str:
    return _README.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def network(environ: dict[str, str]) -> None:
    """The section's network, but for the weights, which Keras would download."""
    (script,) = re.findall(r"```python\n(.*?)```", _section("Your own photographs"), re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-c", script.replace('"imagenet"', "None")],
        env=environ,
        capture_output=True,
        text=True,
    )
    assert 0 == run.returncode, run.stderr


@pytest.mark.usefixtures("network")
@pytest.mark.skipif(None in map(shutil.which, ("curl", "jq")), reason="curl or jq is missing")
def test_curl_submits_and_predicts(stack: Stack, environ: dict[str, str], tmp_path: Path) -> None:
    # Given what `source` reads, and two photographs
    for name in ("shoe", "bag"):
        Image.new("RGB", (300, 200), (9, 90, 200)).save(tmp_path / f"{name}.jpg")
    _announce(stack, workers=1)
    section = _section("Use it over HTTP, from any language")
    (block,) = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    script = f"source {stack.data_dir / 'env'}\n" + re.sub(r"^\$ ", "", block, flags=re.MULTILINE)

    # When
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    # Then
    assert 0 == run.returncode, run.stdout + run.stderr
    *told, predicted = run.stdout.splitlines()
    assert any(line.startswith("event: ended") for line in told)
    assert [["shoe.jpg"], ["bag.jpg"]] == [line.split(",")[:1] for line in told[-2:]], told
    assert "label" in predicted


@pytest.mark.usefixtures("network")
def test_photographs_go_to_a_network_of_keras(environ: dict[str, str], tmp_path: Path) -> None:
    # Given
    section = _section("Your own photographs")
    commands = re.findall(r"^\$ (.*)$", section, re.MULTILINE)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, size in enumerate([(640, 480), (120, 300)]):
        Image.new("RGB", size, (number, 90, 200)).save(photos / f"{number}.jpg")

    # When
    for arguments in map(shlex.split, commands):
        run = subprocess.run(arguments, env=environ, cwd=tmp_path, capture_output=True, text=True)
        assert 0 == run.returncode, run.stderr

    # Then
    rows = (tmp_path / "photos.csv").read_text().splitlines()
    assert ["item_id", "0.jpg", "1.jpg"] == [row.partition(",")[0] for row in rows]
