"""The engines by name: what each needs installed, and how it is opened.

A new engine is one module or folder that implements `Engine`, and one row here: the values of
FORNADA_ENGINE, their documentation and all error messages follow from the rows.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from typing import Any

from fornada.errors import ConfigError, MissingExtraError
from model_store.engines.arithmetic import ArithmeticEngine
from model_store.engines.interface import Engine
from model_store.engines.jax.engine import JaxEngine
from model_store.engines.keras import KerasEngine
from model_store.engines.keras_setup import backend_to_take
from model_store.engines.openvino.engine import OpenVINOEngine


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineEntry:
    """One engine, as FORNADA_ENGINE names it."""

    name: str
    #: What it is, for the reference of settings.
    summary: str
    #: `open(threads=4)`; imports the framework.
    open: Callable[..., Engine]
    #: Modules that must be importable, and the extra that installs them.
    modules: tuple[str, ...] = ()
    extra: str | None = None
    #: Whether what is installed of it computes on a GPU where there is one.
    uses_gpus: Callable[[], bool] = bool
    #: The engine that `fornada worker --exact` runs in its place.
    exact: str | None = None
    #: Arguments of `open` where a model is tried once, behind the wall.
    trial: Mapping[str, Any] = field(default_factory=lambda: {"threads": 1})
    #: Whether its models are data that can do no harm, and need no wall.
    loads_only_data: bool = False

    def missing_module(self) -> str | None:
        """The first module that is not installed; imports nothing."""
        return next((module for module in self.modules if find_spec(module) is None), None)


def _is_installed(*distributions: str) -> bool:
    """Whether one of these packages is installed, by the name on PyPI."""
    for name in distributions:
        with contextlib.suppress(PackageNotFoundError):
            distribution(name)
            return True
    return False


_KERAS = partial(
    EngineEntry,
    modules=("tensorflow", "keras"),
    extra="worker",
    uses_gpus=lambda: not _is_installed("tensorflow-cpu"),
    exact="keras-exact",
    # Constants pay over many calls, and take four times the weights.
    trial={"threads": None, "constants": False},
)
_JAX = partial(
    EngineEntry,
    modules=("jax", "keras"),
    extra="jax",
    uses_gpus=lambda: _is_installed("jax-cuda12-plugin", "jax-cuda13-plugin"),
)
_OPENVINO = partial(EngineEntry, modules=("openvino", "keras"), extra="openvino")

ENGINES = (
    _KERAS(
        name="keras",
        summary="Keras on TensorFlow, in float32",
        open=partial(KerasEngine, exact=False),
    ),
    _KERAS(
        name="keras-exact",
        summary="Keras on TensorFlow, in float64, rounded to float32 once: slower, and the same "
        "bytes in any batch",
        open=partial(KerasEngine, exact=True),
    ),
    _JAX(
        name="jax",
        summary="Keras on JAX, in float32, without TensorFlow; on a GPU or TPU where JAX has one",
        open=partial(JaxEngine, precision="float32"),
    ),
    _JAX(
        name="jax-bf16",
        summary="Keras on JAX in bfloat16, for GPUs and TPUs: faster, less exact",
        open=partial(JaxEngine, precision="bfloat16"),
    ),
    _OPENVINO(
        name="openvino",
        summary="OpenVINO on the CPU, in float32, without TensorFlow",
        open=partial(OpenVINOEngine, precision="float32"),
    ),
    _OPENVINO(
        name="openvino-bf16",
        summary="OpenVINO in bfloat16, on CPUs that have it: faster, less exact",
        open=partial(OpenVINOEngine, precision="bfloat16"),
    ),
    EngineEntry(
        name="test",
        summary="for Fornada's own tests; runs no Keras model",
        open=ArithmeticEngine,
        loads_only_data=True,
    ),
)


def find_engine(name: str) -> EngineEntry:
    """The engine that FORNADA_ENGINE names.

    Raises:
        ConfigError: There is no such engine; lists those there are.
    """
    for entry in ENGINES:
        if entry.name == name:
            return entry
    names = ", ".join(entry.name for entry in ENGINES)
    raise ConfigError(f"FORNADA_ENGINE={name} names no engine; set it to one of {names}")


def publishing_engine() -> str:
    """The engine that computes golden outputs here: that of Keras's backend in this process.

    Raises:
        ConfigError: KERAS_BACKEND names a backend that no engine has.
    """
    backend = backend_to_take()
    return next(entry.name for entry in ENGINES if backend in entry.modules)


def require_engine(name: str) -> EngineEntry:
    """The engine that FORNADA_ENGINE names, checked to be installed but not imported.

    Raises:
        ConfigError: There is no such engine.
        MissingExtraError: It is not installed; says how to install it.
    """
    entry = find_engine(name)
    missing = entry.missing_module()
    if missing is not None:
        raise MissingExtraError(
            f"{missing} is not installed, and a worker with FORNADA_ENGINE={name} needs it; "
            f"pip install 'fornada[{entry.extra}]', or set FORNADA_ENGINE to an installed engine"
        )
    return entry


def open_engine(name: str, *, threads: int) -> Engine:
    """Open the engine that FORNADA_ENGINE names, once per process; the import may take seconds.

    Args:
        name: The setting.
        threads: Cores that predict may use.

    Raises:
        ConfigError: There is no such engine, or this machine or process cannot run it.
        MissingExtraError: It is not installed.
        UsageError: TensorFlow has begun to compute in this process.
    """
    return require_engine(name).open(threads=threads)


def open_for_trial(name: str) -> Engine:
    """Open an engine to try a model once: it prepares nothing that pays only over many calls.

    Raises:
        ConfigError, MissingExtraError: As `open_engine`.
    """
    entry = require_engine(name)
    return entry.open(**entry.trial)
