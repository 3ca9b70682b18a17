"""The peers' virtual environments, created once from their locks in the cache folder."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

_PEERS = Path(__file__).parents[1] / "peers"
_MARK = "lock.sha256"


class EnvironmentFailedError(Exception):
    """A peer's environment could not be created."""


def python_of(name: str, *, cache: Path) -> Path:
    """The Python of environment `name`, installed again when its lock changes.

    Raises:
        EnvironmentFailedError: uv is not there, or could not install it.
    """
    lock = _PEERS / name / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    folder = cache / "venvs" / name
    python = folder / "bin" / "python"
    mark = folder / _MARK
    if not (mark.exists() and mark.read_text() == digest):
        print(f"installing {name} from {lock.relative_to(_PEERS.parent.parent)}", flush=True)
        uv = _uv()
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--require-hashes"]
        _run([*install, "--python", str(python), "--requirements", str(lock)])
        mark.write_text(digest)
    return python


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise EnvironmentFailedError("uv is not installed; make bench installs it")
    return found


def _run(command: list[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise EnvironmentFailedError(f"{' '.join(command[:3])} failed: {run.stderr.strip()[-800:]}")
