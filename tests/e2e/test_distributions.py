"""What is uploaded at a release: an sdist, and the wheel that is built from it."""

import email
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_PACKAGES: list[str] = _PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both, made as docs/releasing.md says but with the tools at hand."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, _ROOT],
        check=True,
        capture_output=True,
    )
    return folder


def test_twine_has_nothing_to_say(built: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *built.iterdir()],
        capture_output=True,
        text=True,
    )

    assert 0 == checked.returncode, checked.stdout
    assert 2 == checked.stdout.count("PASSED")


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(built: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *_PACKAGES],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    tree = {name for name in listed.stdout.splitlines() if (_ROOT / name).is_file()}

    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    # Lua, templates and lists among them.
    assert {".py", ".lua", ".txt", ".html", ".typed"} <= {_suffix(name) for name in names}
    assert tree == names


def test_the_sdist_holds_what_the_wheel_is_built_from_and_its_papers(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    tops = {name.partition("/")[0] for name in names} - {""}
    papers = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}
    assert {*_PACKAGES, *papers} == tops


def test_the_wheel_says_which_extras_there_are_and_which_python(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(archive.read(path))

    extras = set(_PROJECT["project"]["optional-dependencies"])
    assert extras == set(metadata.get_all("Provides-Extra", []))
    # `all` has every other one.
    (everything,) = _PROJECT["project"]["optional-dependencies"]["all"]
    listed = everything.partition("[")[2].removesuffix("]").split(",")
    assert extras - {"all"} == set(listed)
    assert {">=3.11", "<3.14"} == set(str(metadata["Requires-Python"]).split(","))
    assert "text/markdown" == metadata["Description-Content-Type"]


def _suffix(name: str) -> str:
    return Path(name).suffix or Path(name).name
