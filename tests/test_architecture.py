"""The code keeps the shape that CONTRIBUTING.md describes: layers, light imports, sizes, names."""

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import producer

_ROOT = Path(__file__).parent.parent
_PACKAGES = ("fornada", "gateway", "model_store", "producer", "trainer", "worker")
_MODULES = sorted(path for package in _PACKAGES for path in (_ROOT / package).rglob("*.py"))
#: Most modules of one folder, besides `__init__.py`.
_MAX_MODULES = 14
_MAX_LINES = 350

_ALL_ERRORS = {"Exception", "BaseException"}

_FRAMEWORKS = ("tensorflow", "keras", "PIL", "matplotlib", "sklearn", "pyarrow", "h5py")
#: What makes and sends spans. redis-py imports other parts of OpenTelemetry by itself.
_TRACES = ("opentelemetry.sdk.trace", "fornada.tracing.otel")
#: Imports of one process, in order, and what none of them may load by itself.
_LIGHT_STEPS = (
    (
        "from fornada.commands.router import root; root.main(['--help'], standalone_mode=False)",
        (*_FRAMEWORKS, "pydantic", "boto3", "celery", "numpy"),
    ),
    ("import worker.cli, worker.process", (*_FRAMEWORKS, "rich", "prometheus_client", *_TRACES)),
    ("import gateway.commands.serving", ("prometheus_client", *_TRACES)),
    ("import producer.client", (*_FRAMEWORKS, *_TRACES)),
    ("import producer", _FRAMEWORKS),
    ("import producer.commands.submit", _FRAMEWORKS),
    ("import producer.commands.jobs", _FRAMEWORKS),
    ("import producer.commands.compare", _FRAMEWORKS),
    ("import producer.testing", _FRAMEWORKS),
    ("import fornada.commands.doctor.command", _FRAMEWORKS),
    ("import fornada.commands.local", _FRAMEWORKS),
    ("import model_store; dir(model_store)", _FRAMEWORKS),
    ("import model_store.store", _FRAMEWORKS),
    ("import model_store.commands.reading", _FRAMEWORKS),
    ("import model_store.commands.changing", _FRAMEWORKS),
    ("import model_store.commands.report", _FRAMEWORKS),
    ("import model_store.safety.artifact_check", _FRAMEWORKS),
)


def test_light_parts_load_no_framework_and_no_optional_package() -> None:
    # Given
    script = (
        "import contextlib, json, sys\n"
        "loaded = {}\n"
        "for step, heavy in json.loads(sys.argv[1]):\n"
        "    before = set(sys.modules)\n"
        "    with contextlib.redirect_stdout(sys.stderr): exec(step)\n"
        "    found = set(heavy) & (set(sys.modules) - before)\n"
        "    if found: loaded[step] = sorted(found)\n"
        "print(json.dumps(loaded))"
    )

    # When
    run = subprocess.run(
        [sys.executable, "-c", script, json.dumps(_LIGHT_STEPS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    # Then
    assert {} == json.loads(run.stdout)


def test_layers_hold() -> None:
    # Given
    lint_imports = Path(sys.executable).with_name("lint-imports")

    # When
    run = subprocess.run([lint_imports, "--no-cache"], capture_output=True, text=True, cwd=_ROOT)

    # Then
    assert 0 == run.returncode, run.stdout


def test_modules_say_what_they_are_for_and_fit_a_head() -> None:
    # Given
    texts = {str(path.relative_to(_ROOT)): path.read_text() for path in _MODULES}

    # Then
    assert [] == [name for name, text in texts.items() if not text.startswith('"""')]
    assert {} == {
        name: len(text.splitlines())
        for name, text in texts.items()
        if len(text.splitlines()) > _MAX_LINES
    }
    assert set() == {"utils", "common", "helpers", "manager"} & {path.stem for path in _MODULES}


@functools.cache
def _nodes() -> list[tuple[Path, ast.AST]]:
    """The statements and calls of all modules that the tests below look at."""
    kinds = (ast.Call, ast.Attribute, ast.Import, ast.ImportFrom, ast.Try)
    trees = {path: ast.parse(path.read_text()) for path in _MODULES}
    return [
        (path, node)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    ]


def test_all_that_is_printed_passes_one_door() -> None:
    """It shows control characters as escapes, and takes nothing for markup."""
    door = _ROOT / "fornada" / "commands" / "output.py"
    beside = {
        f"{path.relative_to(_ROOT)}: {node.lineno}"
        for path, node in _nodes()
        if path != door and _prints(node)
    }

    assert set() == beside


def _prints(node: ast.AST) -> bool:
    match node:
        case ast.ImportFrom(module=str(module)):
            # A bar of progress takes the door's console, and shows numbers and states.
            return module.startswith("rich") and module != "rich.progress"
        case ast.Import(names=names):
            return any(name.name.startswith("rich") for name in names)
        case ast.Call(func=ast.Name(id="print")):
            return True
        case ast.Attribute(
            value=ast.Name(id="click"), attr="echo" | "secho" | "style" | "get_text_stream"
        ):
            return True
        case ast.Attribute(
            value=ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "stderr"),
            attr="write" | "writelines" | "buffer",
        ):
            return True
    return False


def test_no_handler_of_everything_swallows_a_memory_error() -> None:
    """It is the machine's, not that of the item, model or job at hand: only a restart cures it."""
    swallowing = {
        f"{path.relative_to(_ROOT)}: {line}"
        for path, node in _nodes()
        for line in _swallowing(node)
    }

    assert set() == swallowing


def _swallowing(node: ast.AST) -> Iterator[int]:
    match node:
        case ast.Try(handlers=handlers):
            kept = False
            for handler in handlers:
                names = {n.id for n in ast.walk(handler.type or node) if isinstance(n, ast.Name)}
                raises_again = isinstance(handler.body[-1], ast.Raise) and not handler.body[-1].exc
                takes_all = handler.type is None or names & _ALL_ERRORS
                kept = kept or "MemoryError" in names
                if takes_all and not kept and not raises_again:
                    yield handler.lineno
        case ast.Call(
            func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=classes
        ) if any(isinstance(each, ast.Name) and each.id in _ALL_ERRORS for each in classes):
            yield node.lineno


def test_folders_are_chapters() -> None:
    # Given
    folders = {path.parent for path in _MODULES}
    sizes = {folder: len(list(folder.glob("[!_]*.py"))) for folder in folders}

    # Then
    assert [] == [folder for folder in folders if not (folder / "__init__.py").exists()]
    assert {} == {folder: size for folder, size in sizes.items() if size > _MAX_MODULES}


def test_public_names_are_sorted_and_there() -> None:
    # Given
    names = producer.__all__

    # Then
    assert sorted(names) == list(names)
    assert [] == [name for name in names if not hasattr(producer, name)]
