"""Cores by affinity and container quota."""

import os
from pathlib import Path

import pytest

from worker.host import hardware


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where control groups are mounted; there are none until they are written."""
    monkeypatch.setattr(hardware, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(hardware, "_OWN_GROUPS", tmp_path / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.usefixtures("groups")
def test_without_a_quota_it_is_the_affinity() -> None:
    assert 8 == hardware.granted_cores()


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("250000 100000\n", 2),
        ("1600000 100000\n", 8),
        ("50000 100000\n", 1),
        ("10000 100000\n", 1),
        ("", 8),
        ("nonsense\n", 8),
    ],
)
def test_a_quota_is_a_limit_and_never_less_than_one_core(
    groups: Path, quota: str, expected: int
) -> None:
    _write(groups / "cpu.max", quota)

    assert expected == hardware.granted_cores()


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3), ("40000", 1)])
def test_the_older_cgroup_is_read_too(groups: Path, quota: str, expected: int) -> None:
    _write(groups / "cpu" / "cpu.cfs_quota_us", quota)
    _write(groups / "cpu" / "cpu.cfs_period_us", "100000")

    assert expected == hardware.granted_cores()


@pytest.mark.parametrize("limited", ["system.slice", "system.slice/fornada.service"])
def test_a_group_s_quota_holds_for_those_below_it(groups: Path, limited: str) -> None:
    _write(groups.parent / "self", "1:memory:/elsewhere\n0::/system.slice/fornada.service\n")
    _write(groups / "system.slice" / "fornada.service" / "cpu.max", "max 100000\n")
    _write(groups / limited / "cpu.max", "300000 100000\n")

    assert 3 == hardware.granted_cores()


def test_a_group_of_the_older_kind_is_found_by_its_name(groups: Path) -> None:
    _write(groups.parent / "self", "4:cpu,cpuacct:/docker/a1\n3:memory:/docker/a1\n")
    _write(groups / "cpu" / "docker" / "a1" / "cpu.cfs_quota_us", "200000")
    _write(groups / "cpu" / "docker" / "a1" / "cpu.cfs_period_us", "100000")

    assert 2 == hardware.granted_cores()


def test_a_group_outside_of_what_is_mounted_is_not_looked_for(groups: Path) -> None:
    _write(groups.parent / "self", "0::/../elsewhere\n")
    _write(groups.parent / "elsewhere" / "cpu.max", "100000 100000\n")

    assert 8 == hardware.granted_cores()
