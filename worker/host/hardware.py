"""What kind of machine this is, as far as an engine's speed and its low bits depend on it."""

import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from fornada.errors import UsageError

_CPUINFO = Path("/proc/cpuinfo")
_NAMES = ("vendor_id", "cpu family", "model", "model name", "CPU implementer", "CPU part")
#: Instructions that engines choose their code by. Others come and go with the kernel's release.
_INSTRUCTIONS = re.compile(r"(avx|amx|fma|f16c|sse4|asimd|bf16|i8mm|sve)\w*")


def machine_kind(*, cores: int) -> str:
    """Processor, instructions and granted cores: `x86_64 AMD EPYC … avx2 fma, 2 cores`.

    Processes of one machine, or of machines alike, get the same text.
    """
    facts = _cpu_facts()
    named = [facts[name] for name in _NAMES if name in facts] or [platform.processor()]
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    instructions = sorted(flag for flag in flags if _INSTRUCTIONS.fullmatch(flag))
    words = [platform.machine(), *named, *instructions]
    return f"{' '.join(filter(None, words))}, {cores} cores"


def _cpu_facts() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    try:
        first, _, _ = _CPUINFO.read_text().partition("\n\n")
    except OSError:
        return {}
    lines = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


_CGROUPS = Path("/sys/fs/cgroup")
#: The groups that this process is in: `0::/path`, of the older kind `4:cpu,cpuacct:/path`.
_OWN_GROUPS = Path("/proc/self/cgroup")


def granted_cores() -> int:
    """Cores by affinity and by the quotas of this process's control groups; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *_quotas()]))


def _quotas() -> Iterator[int]:
    """Cores that each group with a quota grants; a group's also hold for those below it."""
    for folder in _own_folders():
        try:
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            limit = int(quota) / int(period)
        except (OSError, ValueError):  # no such group in sight, or `max`: no limit
            continue
        if limit > 0:
            yield max(1, round(limit))


def _own_folders() -> Iterator[Path]:
    """This process's groups, each with those above it. In a container they are the mounted ones."""
    yield from (_CGROUPS, _CGROUPS / "cpu")
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = _CGROUPS / "cpu" if controllers else _CGROUPS
        folder = mounted / path.lstrip("/")
        # One that is out of sight has a path that leads out of what is mounted.
        while mounted in folder.parents and ".." not in folder.parts:
            yield folder
            folder = folder.parent


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
