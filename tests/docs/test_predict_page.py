"""The examples of docs/predict-over-http.md run against a gateway, and give what the page says."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fornada.tensors import InputTensor, OutputTensor
from gateway.auth.scopes import Scope
from producer.testing import in_memory_client

from ..integration.gateway.serving import gateway_of, served

PAGE = Path(__file__).parents[2] / "docs" / "predict-over-http.md"
TEXT = PAGE.read_text(encoding="utf-8")
SCOPES = [Scope.PREDICT]


@dataclass(frozen=True)
class Gateway:
    """A gateway, and a key for it."""

    url: str
    key: str


@pytest.fixture(scope="module")
def looks() -> Iterator[Gateway]:
    """Serves fashion-mnist."""
    with in_memory_client(
        model="fashion-mnist",
        item_shape=[28, 28],
        classes=["shirt", "shoe", "bag"],
        predict=lambda images: np.tile(np.float32([0.8, 0.15, 0.05]), (len(images), 1)),
    ) as client:
        app, key = gateway_of(client, scopes=SCOPES)
        with served(app) as url:
            yield Gateway(url, key)


@pytest.fixture(scope="module")
def churn() -> Iterator[Gateway]:
    """Serves churn, of two inputs."""
    with in_memory_client(
        model="churn",
        inputs=[
            InputTensor(name="age", dtype="float32", shape=[]),
            InputTensor(name="plan", dtype="string", shape=[]),
        ],
        outputs=[OutputTensor(name="leaves", shape=[], kind="tensor")],
        predict=lambda rows: {"leaves": rows["age"] / np.float32(100)},
    ) as client:
        app, key = gateway_of(client, scopes=SCOPES)
        with served(app) as url:
            yield Gateway(url, key)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the files that the page names."""
    folder = tmp_path_factory.mktemp("page")
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(folder / "shirt.png")
    (folder / "broken.png").write_bytes((folder / "shirt.png").read_bytes()[:40])
    np.save(folder / "images.npy", np.zeros((2, 28, 28), np.uint8))
    return folder


def _commands() -> list[tuple[str, str]]:
    """Each command on the page, and what it prints."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command = re.match(r"(?:.*\\\n)*(?:.*\n)(?:    .*\n)*", part)
            assert command is not None
            found.append((command[0], part[command.end() :]))
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_print_what_the_page_says(
    looks: Gateway, churn: Gateway, folder: Path
) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    commands = _commands()
    for command, expected in commands:
        gateway = churn if "churn" in command else looks
        environ = {
            "PATH": path,
            "FORNADA_URL": gateway.url,
            "FORNADA_API_KEY": gateway.key,
        }
        ran = subprocess.run(
            command, shell=True, cwd=folder, env=environ, capture_output=True, text=True
        )
        pattern = ".*".join(map(re.escape, expected.strip().split("…")))
        assert re.fullmatch(pattern, ran.stdout.strip()), (command, ran.stdout, ran.stderr)
    assert 7 == len(commands)


def test_tritonclient_gives_what_the_page_says(
    looks: Gateway, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"api_key": looks.key}

    exec(block.replace("127.0.0.1:8080", looks.url.removeprefix("http://")), names)

    names["client"].close()
    assert [b"0.800000:0:shirt", b"0.150000:1:shoe"] == names["result"].as_numpy("outputs")[
        0
    ].tolist()
