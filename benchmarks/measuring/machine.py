"""The machine of a run, as far as it matters to the figures; without its host name."""

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from worker.host.hardware import granted_cores

_FLAGS = ("avx2", "avx512f", "amx_bf16", "amx_tile")


def describe() -> dict[str, Any]:
    """Processor, cores, memory, system."""
    cpuinfo = _read("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.+)$", cpuinfo, re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": named[1] if named else platform.processor() or platform.machine(),
        "cpu_flags": [flag for flag in _FLAGS if flag in present],
        "cores": granted_cores(),
        "memory_gib": round(memory_bytes / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def cpu_name(machine: dict[str, Any]) -> str:
    """The processor as people call it: `Intel Xeon`."""
    name = re.sub(r"\((R|TM)\)|@.*|\b(CPU|Processor)\b", " ", machine["cpu"])
    return " ".join(name.split())


def slug(machine: dict[str, Any]) -> str:
    """The machine as part of a file's name: `intel-xeon-2cores`."""
    words = re.findall(r"[a-z0-9]+", cpu_name(machine).lower())[:4]
    return "-".join([*words, f"{machine['cores']}cores"])


def load() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def commit(root: Path) -> str | None:
    """The commit of the tree, with `+` if files differ; none outside of git."""
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
