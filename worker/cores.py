"""How many processor cores this process is really granted."""

import os
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")


def granted_cores() -> int:
    """Cores by affinity and by the container's quota, whichever is less; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota_cores() or cores))


def _quota_cores() -> int | None:
    try:
        if _CGROUP_V2.exists():
            quota, period = _CGROUP_V2.read_text().split()
        else:
            quota = _CGROUP_V1.read_text().strip()
            period = _CGROUP_V1.with_name("cpu.cfs_period_us").read_text().strip()
        limit = int(quota) / int(period)
    except (OSError, ValueError):  # no cgroup, or `max`: no limit
        return None
    return max(1, round(limit)) if limit > 0 else None
