"""Which GPUs TensorFlow may use here, and which of them each worker process gets."""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from fornada.errors import UsageError

_VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(environ: Mapping[str, str], *, devices: Path = Path("/dev")) -> list[str]:
    """The GPUs as CUDA names them: those that the environment names, else all of the machine's.

    None where TensorFlow is its build for CPUs.
    """
    if _is_cpu_build():
        return []
    if _VARIABLE not in environ:
        numbers = [re.fullmatch(r"nvidia(\d+)", path.name) for path in devices.glob("nvidia*")]
        return sorted((match[1] for match in numbers if match), key=int)
    gpus = []
    for name in environ[_VARIABLE].split(","):
        # CUDA takes those before the first that it does not know, as which -1 is given.
        if name.strip() in {"", "-1"}:
            break
        gpus.append(name.strip())
    return gpus


def gpu_of_each(gpus: Sequence[str], *, processes: int) -> list[dict[str, str]]:
    """What each process has in its environment beside the rest: a GPU of its own.

    Raises:
        UsageError: There are more processes than GPUs.
    """
    if not gpus:
        return [{} for _ in range(processes)]
    if processes > len(gpus):
        raise UsageError(
            f"--processes {processes} is more than the {len(gpus)} GPUs here, and a GPU serves one "
            f"process; ask for {len(gpus)}, or predict on CPUs with {_VARIABLE}=-1"
        )
    return [{_VARIABLE: gpu} for gpu in gpus[:processes]]


def _is_cpu_build() -> bool:
    try:
        distribution("tensorflow-cpu")
    except PackageNotFoundError:
        return False
    return True
