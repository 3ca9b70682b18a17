"""The machine: cores and memory granted, the GPUs visible, and the kind of processor."""

import contextlib
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fornada.errors import UsageError

_CPUINFO = Path("/proc/cpuinfo")
_NAMES = ("vendor_id", "cpu family", "model", "model name", "CPU implementer", "CPU part")
#: Instruction sets by which engines choose their kernels; others change with the Linux release.
_INSTRUCTIONS = re.compile(r"(avx|amx|fma|f16c|sse4|asimd|bf16|i8mm|sve)\w*")
_CGROUPS = Path("/sys/fs/cgroup")
#: This process's control groups: `0::/path`, in version 1 `4:cpu,cpuacct:/path`.
_OWN_GROUPS = Path("/proc/self/cgroup")
_GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"


def machine_kind(*, cores: int) -> str:
    """Processor, instructions and granted cores: `x86_64 AMD EPYC … avx2 fma, 2 cores`.

    An engine's speed and its low bits depend on these; equal machines get equal texts.
    """
    facts = _cpu_facts()
    named = [facts[name] for name in _NAMES if name in facts] or [platform.processor()]
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    instructions = sorted(flag for flag in flags if _INSTRUCTIONS.fullmatch(flag))
    words = [platform.machine(), *named, *instructions]
    return f"{' '.join(filter(None, words))}, {cores} cores"


def _cpu_facts() -> dict[str, str]:
    """Linux's description of the first processor; empty on other systems."""
    try:
        first, _, _ = _CPUINFO.read_text().partition("\n\n")
    except OSError:
        return {}
    lines = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def granted_cores() -> int:
    """Cores by affinity and by the quotas of the process's control groups; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *_quotas()]))


def _quotas() -> Iterator[int]:
    """The cores granted by each control group that has a quota, ancestors included."""
    for folder in _own_folders("cpu"):
        try:
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            limit = int(quota) / int(period)
        except (OSError, ValueError):  # the group is not visible, or says `max`: no limit
            continue
        if limit > 0:
            yield max(1, round(limit))


def granted_memory_bytes() -> int:
    """Memory of the machine, or what the process's control groups may take of it."""
    installed_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([installed_bytes, *_memory_limits()])


def _memory_limits() -> Iterator[int]:
    for folder in _own_folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            # The group is not visible, or says `max`: no limit.
            with contextlib.suppress(OSError, ValueError):
                yield int((folder / name).read_text())


def _own_folders(controller: str) -> Iterator[Path]:
    """The process's groups and their ancestors; in a container, the mounted ones."""
    yield from (_CGROUPS, _CGROUPS / controller)
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mounted = _CGROUPS / controller if controllers else _CGROUPS
        folder = mounted / path.lstrip("/")
        # The path of an invisible group leads out of the mount.
        while mounted in folder.parents and ".." not in folder.parts:
            yield folder
            folder = folder.parent


def visible_gpus(environ: Mapping[str, str], *, devices: Path = Path("/dev")) -> list[str]:
    """The GPUs by CUDA's names: those in the environment, else all of the machine's."""
    if _GPUS_VARIABLE not in environ:
        numbers = [re.fullmatch(r"nvidia(\d+)", path.name) for path in devices.glob("nvidia*")]
        return sorted((match[1] for match in numbers if match), key=int)
    gpus = []
    for name in environ[_GPUS_VARIABLE].split(","):
        # CUDA ignores every device from the first unknown one on, and -1 is unknown.
        if name.strip() in {"", "-1"}:
            break
        gpus.append(name.strip())
    return gpus


def gpu_of_each(gpus: Sequence[str], *, processes: int) -> list[dict[str, str]]:
    """The addition to each process's environment that gives it its own GPU.

    Raises:
        UsageError: There are more processes than GPUs.
    """
    if not gpus:
        return [{} for _ in range(processes)]
    if processes > len(gpus):
        raise UsageError(
            f"--processes {processes} is more than the {len(gpus)} GPUs here, and a GPU serves one "
            f"process; ask for {len(gpus)}, or predict on CPUs with {_GPUS_VARIABLE}=-1"
        )
    return [{_GPUS_VARIABLE: gpu} for gpu in gpus[:processes]]
