"""Cores by affinity and container quota."""

import os
from pathlib import Path

import pytest

from worker import cores


@pytest.fixture
def v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a cgroup v2; there is none until it is written."""
    monkeypatch.setattr(cores, "_CGROUP_V2", tmp_path / "cpu.max")
    monkeypatch.setattr(cores, "_CGROUP_V1", tmp_path / "cpu.cfs_quota_us")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    return tmp_path / "cpu.max"


@pytest.mark.usefixtures("v2")
def test_without_a_quota_it_is_the_affinity() -> None:
    assert 8 == cores.granted_cores()


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
    v2: Path, quota: str, expected: int
) -> None:
    v2.write_text(quota)

    assert expected == cores.granted_cores()


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3), ("40000", 1)])
def test_the_older_cgroup_is_read_too(v2: Path, quota: str, expected: int) -> None:
    v2.with_name("cpu.cfs_quota_us").write_text(quota)
    v2.with_name("cpu.cfs_period_us").write_text("100000")

    assert expected == cores.granted_cores()
