"""The architecture's promises that no linter checks: light imports, sizes, names."""

import subprocess
import sys
from pathlib import Path

import producer

_ROOT = Path(__file__).parent.parent
_PACKAGES = ("fornada", "model_store", "producer", "trainer", "worker")
_MODULES = sorted(path for package in _PACKAGES for path in (_ROOT / package).rglob("*.py"))
_MOST_LINES = 350
_HEAVY = ("tensorflow", "keras", "PIL", "matplotlib", "sklearn", "pyarrow", "h5py")
_LIGHT = (
    "producer",
    "producer.commands.submit",
    "producer.commands.jobs",
    "producer.commands.compare",
    "producer.testing",
    "fornada.commands.doctor",
    "fornada.local.cli",
    "model_store.store",
    "model_store.commands.reading",
    "model_store.commands.changing",
    "model_store.commands.report",
    "model_store.safety.artifact_check",
)


def test_light_half_imports_no_framework_and_no_optional_package() -> None:
    # Given
    script = f"import sys, {', '.join(_LIGHT)}; print([n for n in {_HEAVY} if n in sys.modules])"

    # When
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    # Then
    assert "[]" == run.stdout.strip()


def test_the_start_of_workers_does_not_wait_for_rich() -> None:
    # Given
    script = "import sys, worker.cli, worker.process; sys.exit('rich' in sys.modules)"

    # When
    run = subprocess.run([sys.executable, "-c", script], check=False)

    # Then
    assert 0 == run.returncode


def test_modules_say_what_they_are_for_and_fit_a_head() -> None:
    for path in _MODULES:
        lines = path.read_text().splitlines()
        assert lines[0].startswith('"""'), path
        assert path.stem not in {"utils", "common", "helpers", "manager"}, path
        assert len(lines) <= _MOST_LINES, path


def test_public_names_are_sorted_and_there() -> None:
    # Given
    names = producer.__all__

    # Then
    assert sorted(names) == list(names)
    assert [] == [name for name in names if not hasattr(producer, name)]
