"""The house stands as it was drawn: layers, light half, sizes, names."""

import subprocess
import sys
from pathlib import Path

import pytest

import producer

_ROOT = Path(__file__).parent.parent
_PACKAGES = ("fornada", "model_store", "producer", "trainer", "worker")
_MODULES = sorted(path for package in _PACKAGES for path in (_ROOT / package).rglob("*.py"))
_HEAVY = ("tensorflow", "keras", "PIL", "matplotlib", "sklearn", "pyarrow", "h5py")
_LIGHT = "import sys, {module}; print([n for n in {heavy} if n in sys.modules])"


@pytest.mark.parametrize(
    "module",
    [
        "producer",
        "producer.commands.submit",
        "producer.commands.jobs",
        "producer.commands.compare",
        "producer.testing",
        "fornada.commands.doctor",
        "fornada.commands.local",
        "model_store.store",
        "model_store.commands.reading",
        "model_store.commands.changing",
        "model_store.commands.report",
        "model_store.safety.artifact_check",
    ],
)
def test_light_half_imports_no_framework_and_no_optional_package(module: str) -> None:
    # Given
    script = _LIGHT.format(module=module, heavy=_HEAVY)

    # When
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    # Then
    assert "[]" == run.stdout.strip()


def test_help_loads_neither_roles_nor_pydantic() -> None:
    # Given
    script = (
        "import sys\n"
        "from fornada.commands.router import root\n"
        "root.main(['--help'], standalone_mode=False)\n"
        "sys.exit(len({'pydantic', 'boto3', 'celery', 'numpy', 'tensorflow'} & set(sys.modules)))"
    )

    # When
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)

    # Then
    assert 0 == run.returncode


def test_the_start_of_workers_does_not_wait_for_rich() -> None:
    # Given
    script = "import sys, worker.cli, worker.process; sys.exit('rich' in sys.modules)"

    # When
    run = subprocess.run([sys.executable, "-c", script], check=False)

    # Then
    assert 0 == run.returncode


def test_layers_hold() -> None:
    # Given
    lint_imports = Path(sys.executable).with_name("lint-imports")

    # When
    run = subprocess.run([lint_imports, "--no-cache"], capture_output=True, text=True, cwd=_ROOT)

    # Then
    assert 0 == run.returncode, run.stdout


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: str(path.relative_to(_ROOT)))
def test_module_says_what_it_is_for_and_fits_a_head(path: Path) -> None:
    # Given
    lines = path.read_text().splitlines()

    # Then
    assert lines[0].startswith('"""')
    assert path.stem not in {"utils", "common", "helpers", "manager"}
    assert len(lines) <= 350


def test_public_names_are_sorted_and_there() -> None:
    # Given
    names = producer.__all__

    # Then
    assert sorted(names) == list(names)
    assert [] == [name for name in names if not hasattr(producer, name)]
