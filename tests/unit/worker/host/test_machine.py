"""Machines of a kind have the same text, others another."""

from pathlib import Path

import pytest

from worker.host import hardware

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


@pytest.fixture
def kind_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: ANN201 - a function of the test's own
    def kind(*, mhz: str = "2700.0", flags: str = "avx2 fma sse4_2", cores: int = 4) -> str:
        (tmp_path / "cpuinfo").write_text(_CPUINFO.format(mhz=mhz, flags=flags))
        monkeypatch.setattr(hardware, "_CPUINFO", tmp_path / "cpuinfo")
        return hardware.machine_kind(cores=cores)

    return kind


def test_it_names_processor_instructions_and_cores(kind_of) -> None:  # noqa: ANN001 - above
    assert kind_of().endswith(
        " GenuineIntel 6 143 Intel(R) Xeon(R) Platinum 8481C avx2 fma sse4_2, 4 cores"
    )


def test_what_changes_from_start_to_start_is_not_in_it(kind_of) -> None:  # noqa: ANN001 - above
    assert kind_of() == kind_of(mhz="3100.7", flags="sse4_2 newer_flag fma avx2")


@pytest.mark.parametrize("other", [{"cores": 8}, {"flags": "avx2 fma sse4_2 amx_bf16"}])
def test_other_cores_or_instructions_are_another_kind(kind_of, other: dict) -> None:  # noqa: ANN001 - above
    assert kind_of() != kind_of(**other)


def test_where_linux_says_nothing_there_is_a_kind_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_CPUINFO", tmp_path / "none")

    assert hardware.machine_kind(cores=3).endswith(", 3 cores")
