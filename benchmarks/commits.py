"""Another commit of Fornada, measured in the same run as this one."""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from benchmarks.registry import Contender

_ROOT = Path(__file__).parents[1]


@contextmanager
def checked_out(commit: str, *, cache: Path) -> Iterator[Path]:
    """A folder with the files of `commit`, for the length of the block.

    Raises:
        click.UsageError: Git does not know the commit.
    """
    command = ["git", "archive", commit]
    archive = subprocess.run(command, cwd=_ROOT, check=False, capture_output=True)
    if archive.returncode:
        why = archive.stderr.decode(errors="replace").strip()
        raise click.UsageError(f"no commit {commit!r} to compare with: {why}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="commit-", dir=cache) as name:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(name, filter="data")
        yield Path(name)


def beside(contenders: Sequence[Contender], *, commit: str, root: Path) -> list[Contender]:
    """The contenders, each of Fornada's followed by the same one at `commit`."""
    found: list[Contender] = []
    for contender in contenders:
        found.append(contender)
        if contender.kind == "fornada":
            name, label = f"{contender.name}@{commit}", f"{contender.label} at {commit}"
            found.append(replace(contender, name=name, label=label, root=root))
    return found
