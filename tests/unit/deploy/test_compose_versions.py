"""Both versions of Compose read docker-compose.yml alike, and hand every setting on."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fornada.settings import PREFIX, Settings

_ROOT = Path(__file__).parents[3]
_SECRETS = Settings._secrets()
#: As a person may write it: a list, an equals sign, blanks in quotes, a comment.
_SPELLINGS = ("a@prod,b", "A>B=c.d:E", '"two words"', "'single'", "plain # a comment")
_READ = ("a@prod,b", "A>B=c.d:E", "two words", "single", "plain")


def _compose(version: int) -> list[str]:
    """The command of a version of Compose, which needs no engine to read a file."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        asked = subprocess.run([*command, "version", "--short"], capture_output=True, text=True)
        if asked.returncode == 0 and asked.stdout.strip().removeprefix("v")[0] == str(version):
            return command
    pytest.skip(f"Compose {version} is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 2])
def test_every_setting_of_the_environment_file_arrives_in_each_container(
    version: int, tmp_path: Path
) -> None:
    # Given
    names = [PREFIX + name.upper() for name in Settings.model_fields if name not in _SECRETS]
    spelt = {name: i % len(_SPELLINGS) for i, name in enumerate(names)}
    written = "".join(f"{name}={_SPELLINGS[i]}\n" for name, i in spelt.items())
    resolved = _resolved(version, tmp_path, written)

    # Then
    ours = {name: each for name, each in resolved.items() if "build" in each}
    assert len(ours) > 5
    for name in set(ours) - {"s3-folder"}:
        given = ours[name]["environment"]
        assert {each: _READ[i] for each, i in spelt.items()} == {
            each: given.get(each) for each in names
        }, name


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 2])
def test_nothing_is_left_to_be_replaced(version: int, tmp_path: Path) -> None:
    resolved = _resolved(version, tmp_path, "")

    # `$$` is an escaped dollar, and the shell of `s3-folder` needs one.
    assert [] == [
        (name, text)
        for name, service in resolved.items()
        for text in _texts(service)
        if "${" in text or ("$" in text and name != "s3-folder")
    ]
    assert "http://127.0.0.1:9000" == _settings_of(resolved["gateway"]).s3_public_endpoint_url
    assert 120.0 == _settings_of(resolved["worker"]).shard_deadline_s


def _resolved(version: int, folder: Path, more: str) -> dict[str, Any]:
    """The services as this version of Compose understands them, with `more` in `.env`."""
    command = _compose(version)
    shutil.copy(_ROOT / "docker-compose.yml", folder)
    shutil.copytree(_ROOT / "deploy", folder / "deploy")
    example = (_ROOT / "deploy" / ".env.example").read_text()
    (folder / ".env").write_text(example + more)
    asked = subprocess.run(
        [*command, "--profile", "producer", "config"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert 0 == asked.returncode, asked.stderr
    services: dict[str, Any] = yaml.safe_load(asked.stdout)["services"]
    return services


def _settings_of(service: dict[str, Any]) -> Settings:
    environ = {
        name: str(value)
        for name, value in service["environment"].items()
        # No secret is mounted here.
        if not name.endswith("_FILE") and name != "FORNADA_S3_ACCESS_KEY_ID"
    }
    return Settings.from_env(environ)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [str(value)]
