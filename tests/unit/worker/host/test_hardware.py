"""The machine: granted cores, visible GPUs, and the text that names its kind; all from files."""

import os
from pathlib import Path

import pytest

from fornada.errors import UsageError
from worker.host import hardware

# Cores.


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mount of the control groups; there are none yet."""
    monkeypatch.setattr(hardware, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(hardware, "_OWN_GROUPS", tmp_path / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


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
        (None, 8),
    ],
)
def test_a_quota_is_a_limit_and_never_less_than_one_core(
    groups: Path, quota: str | None, expected: int
) -> None:
    if quota is not None:
        _write(groups / "cpu.max", quota)

    assert expected == hardware.granted_cores()


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3), ("40000", 1)])
def test_a_version_1_quota_is_read(groups: Path, quota: str, expected: int) -> None:
    _write(groups / "cpu" / "cpu.cfs_quota_us", quota)
    _write(groups / "cpu" / "cpu.cfs_period_us", "100000")

    assert expected == hardware.granted_cores()


@pytest.mark.parametrize("limited", ["system.slice", "system.slice/fornada.service"])
def test_a_groups_quota_holds_for_its_descendants(groups: Path, limited: str) -> None:
    _write(groups.parent / "self", "1:memory:/elsewhere\n0::/system.slice/fornada.service\n")
    _write(groups / "system.slice" / "fornada.service" / "cpu.max", "max 100000\n")
    _write(groups / limited / "cpu.max", "300000 100000\n")

    assert 3 == hardware.granted_cores()


def test_a_version_1_group_is_found_by_its_name(groups: Path) -> None:
    _write(groups.parent / "self", "4:cpu,cpuacct:/docker/a1\n3:memory:/docker/a1\n")
    _write(groups / "cpu" / "docker" / "a1" / "cpu.cfs_quota_us", "200000")
    _write(groups / "cpu" / "docker" / "a1" / "cpu.cfs_period_us", "100000")

    assert 2 == hardware.granted_cores()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"memory.max": "max\n"}, None),
        ({"memory.max": "2000000\n", "shop/memory.max": "1000000\n"}, 1_000_000),
        ({"memory/shop/memory.limit_in_bytes": "3000000\n"}, 3_000_000),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
    ],
)
def test_memory_is_the_least_of_the_machines_and_the_groups(
    groups: Path, limits: dict[str, str], expected: int | None
) -> None:
    _write(groups.parent / "self", "4:memory:/shop\n0::/shop\n")
    for name, text in limits.items():
        _write(groups / name, text)

    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert (expected or installed) == hardware.granted_memory_bytes()


def test_a_group_outside_the_mount_is_ignored(groups: Path) -> None:
    _write(groups.parent / "self", "0::/../elsewhere\n")
    _write(groups.parent / "elsewhere" / "cpu.max", "100000 100000\n")

    assert 8 == hardware.granted_cores()


# GPUs.


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    """A machine with eleven GPUs."""
    for name in ("nvidiactl", "nvidia-uvm", "null", *(f"nvidia{n}" for n in range(11))):
        (tmp_path / name).touch()
    return tmp_path


def test_all_devices_are_visible_in_the_order_of_their_numbers(devices: Path) -> None:
    assert [str(n) for n in range(11)] == hardware.visible_gpus({}, devices=devices)


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("3,1", ["3", "1"]), ("GPU-5b0c, 2", ["GPU-5b0c", "2"]), ("1,-1,2", ["1"]), ("", [])],
)
def test_the_environment_says_which(devices: Path, variable: str, expected: list[str]) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": variable}

    assert expected == hardware.visible_gpus(environ, devices=devices)


def test_each_process_has_a_gpu_of_its_own() -> None:
    expected = [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]

    assert expected == hardware.gpu_of_each(["0", "1", "2"], processes=2)
    assert [{}, {}, {}] == hardware.gpu_of_each([], processes=3)
    with pytest.raises(UsageError, match="--processes 3 is more than the 2 GPUs here"):
        hardware.gpu_of_each(["0", "1"], processes=3)


# The kind of machine.

_CPUINFO = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8481C
cpu MHz\t\t: {mhz}
flags\t\t: fpu {flags} ht

processor\t: 1
vendor_id\t: SomethingElse
"""


def test_it_names_processor_instructions_and_cores_and_nothing_that_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_CPUINFO", tmp_path / "cpuinfo")

    def kind(*, mhz: str = "2700.0", flags: str = "avx2 fma sse4_2", cores: int = 4) -> str:
        (tmp_path / "cpuinfo").write_text(_CPUINFO.format(mhz=mhz, flags=flags))
        return hardware.machine_kind(cores=cores)

    named = "GenuineIntel 6 143 Intel(R) Xeon(R) Platinum 8481C avx2 fma sse4_2, 4 cores"
    assert kind().endswith(f" {named}")
    assert kind() == kind(mhz="3100.7", flags="sse4_2 newer_flag fma avx2")
    assert kind() != kind(cores=8)
    assert kind() != kind(flags="avx2 fma sse4_2 amx_bf16")

    (tmp_path / "cpuinfo").unlink()
    assert hardware.machine_kind(cores=3).endswith(", 3 cores")
