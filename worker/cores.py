"""How many processor cores this process is really granted."""

import os
from collections.abc import Iterator
from pathlib import Path

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
