"""Which GPUs there are, and that each serves one process; the devices are files."""

from pathlib import Path

import pytest

from fornada.errors import UsageError
from worker.host import hardware


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with eleven GPUs, and a TensorFlow that can use them."""
    monkeypatch.setattr(hardware, "_is_cpu_build", lambda: False)
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


def test_tensorflows_build_for_cpus_sees_none(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_is_cpu_build", lambda: True)

    assert [] == hardware.visible_gpus({}, devices=devices)


def test_each_process_has_a_gpu_of_its_own() -> None:
    expected = [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]

    assert expected == hardware.gpu_of_each(["0", "1", "2"], processes=2)


def test_without_a_gpu_the_environment_is_left_alone() -> None:
    assert [{}, {}, {}] == hardware.gpu_of_each([], processes=3)


def test_more_processes_than_gpus_are_refused() -> None:
    with pytest.raises(UsageError, match="--processes 3 is more than the 2 GPUs here"):
        hardware.gpu_of_each(["0", "1"], processes=3)
