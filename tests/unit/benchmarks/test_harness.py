"""The harness on real servers, with contenders that work, fail, hang and lie."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.measuring import machine, process_tree
from benchmarks.measuring.conversation import ContenderError
from benchmarks.measuring.measurement import Limits, Measured, Measurement
from benchmarks.measuring.models import MODELS
from benchmarks.measuring.prepare import write_items
from benchmarks.measuring.rounds import run_rounds
from benchmarks.measuring.servers import Servers
from benchmarks.registry import Contender
from benchmarks.reporting import chart, table
from benchmarks.reporting.record import record_of
from benchmarks.workloads import Sizes
from fornada.local.stack import Stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

_FOLDER = Path(__file__).parent
_SIZES = Sizes(
    objects={"mlp": (3, 5), "table": (3, 5)},
    calls={"predict": 2},
    rounds=2,
    pass_s=0.0,
    most_passes=1,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, images and references in the files of `prepare`, made without TensorFlow."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name in ("mlp", "table"):
        count = _SIZES.items_of_model(name)
        write_items(folder, name, MODELS[name].items(count))
        reference = rng.random((count, MODELS[name].outputs[0].width), np.float32)
        np.save(folder / f"{name}-reference.npy", reference)
    return folder


@pytest.fixture(scope="module")
def bench_servers(servers: Stack, data: Path) -> Servers:
    """The session's servers, with the inputs in them."""
    found = Servers(stack=servers, data=data)
    found.put_inputs(_SIZES)
    return found


@pytest.fixture
def measure(bench_servers: Servers, tmp_path: Path) -> Callable[[Contender, Path, Path], Measured]:
    """`measure(contender, python, log_path)`: measure a contender once."""
    found = Measurement(bench_servers, _SIZES, folder=tmp_path)
    return lambda contender, python, log: found.measure(contender, python=python, log_path=log)


def _contender(how: str) -> Contender:
    return Contender(
        name=how,
        label=how,
        module="tests.unit.benchmarks.contender",
        arguments=(how,),
        workloads=("mlp",),
        kind="peer",
    )


def _run(
    measure: Callable[[Contender, Path, Path], Measured],
    contenders: list[Contender],
    logs: Path,
    rounds: int = 1,
) -> tuple[dict[str, list[Measured]], dict[str, str]]:
    pythons = {contender.name: Path(sys.executable) for contender in contenders}
    with process_tree.orphans_adopted():
        return run_rounds(contenders, rounds=rounds, measure=measure, pythons=pythons, logs=logs)


def test_contenders_take_turns_and_a_failure_costs_only_itself(
    measure: Callable[[Contender, Path, Path], Measured], tmp_path: Path
) -> None:
    # given
    contenders = [_contender(how) for how in ("stores", "fails", "is-wrong")]

    # when
    found, failed = _run(measure, contenders, tmp_path, rounds=2)

    # then
    assert 2 == len(found["stores"])
    measured = found["stores"][0].workloads["mlp"]
    assert (15, 0.0) == (measured["items"], measured["max_abs_diff"])
    assert 1 == len(measured["passes"])
    assert measured["rate"] > 0
    assert {"fails", "is-wrong"} == failed.keys()
    assert "no luck today" in failed["fails"]
    assert "differ by 0.5" in failed["is-wrong"]


def test_scored_rows_are_found_by_their_keys(
    measure: Callable[[Contender, Path, Path], Measured], tmp_path: Path
) -> None:
    # given rows that come back in another order, and in files of other names
    contender = replace(_contender("stores"), workloads=("table",))

    # when
    found, failed = _run(measure, [contender], tmp_path, rounds=2)

    # then
    assert {} == failed
    measured = [one.workloads["table"] for one in found["stores"]]
    assert [(15, 0.0)] * 2 == [(one["items"], one["max_abs_diff"]) for one in measured]


def test_contender_makes_passes_for_as_long_as_it_needs(
    bench_servers: Servers, tmp_path: Path
) -> None:
    # given a run with one pass each, and at most three
    sizes = replace(_SIZES, pass_s=0.0, most_passes=3)
    measurement = Measurement(bench_servers, sizes, folder=tmp_path)
    contender = replace(_contender("stores"), pass_s={"mlp": 60.0})

    # when
    with process_tree.orphans_adopted():
        measured = measurement.measure(
            contender, python=Path(sys.executable), log_path=tmp_path / "log"
        )

    # then
    assert 3 == len(measured.workloads["mlp"]["passes"])


def test_contender_that_hangs_is_ended_in_time_with_its_log(
    bench_servers: Servers, tmp_path: Path
) -> None:
    # given
    limits = Limits(start_s=60.0, task_s=0.5)
    measurement = Measurement(bench_servers, _SIZES, folder=tmp_path, limits=limits)
    log_path = tmp_path / "log"

    # when
    with pytest.raises(ContenderError) as raised:
        measurement.measure(_contender("hangs"), python=Path(sys.executable), log_path=log_path)

    # then
    assert "gave no result within 0.5 s" in str(raised.value)
    assert "a library's chatter" in str(raised.value)


def test_nothing_that_a_contender_began_outlives_it(
    measure: Callable[[Contender, Path, Path], Measured], data: Path, tmp_path: Path
) -> None:
    # given
    before = process_tree.below(os.getpid())

    # when
    _found, failed = _run(measure, [_contender("leaves-a-process")], tmp_path)

    # then
    assert {} == failed
    stray = int((data / "stray.pid").read_text())
    assert not Path(f"/proc/{stray}").exists()
    assert process_tree.below(os.getpid()) <= before


#: Has 64 MiB of a file in memory, and 64 MiB of its own in each of two processes.
_SHARING = """
import mmap, os, sys
with open(sys.argv[1], "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
os.fork()
own = bytearray(b"x") * 2**26
sum(mapped[::4096])
print(flush=True)
sys.stdin.read()
"""


def test_pages_that_processes_share_count_once(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    # given two processes
    (tmp_path / "file").write_bytes(bytes(2**26))
    command = [sys.executable, "-c", _SHARING, str(tmp_path / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert [b"\n", b"\n"] == [process.stdout.readline() for _ in range(2)]

        # when they are watched
        with process_tree.MemoryWatch(process.pid) as memory:
            wait_until(lambda: memory.peak_mib)
        process.communicate()

    # then that is the file, what is their own, and Python twice
    assert 4 * 64 > memory.peak_mib > 3 * 64


def test_record_table_and_chart_show_what_was_measured_and_what_was_not(
    measure: Callable[[Contender, Path, Path], Measured], tmp_path: Path
) -> None:
    # given
    contenders = [
        replace(_contender("does-well"), name="fornada-keras", label="Fornada, keras"),
        replace(_contender("does-well"), name="plain", label="plain script"),
    ]
    found, failed = _run(measure, contenders, tmp_path)
    about: dict[str, Any] = {
        "machine": machine.describe(),
        "load_before": 0.0,
        "sizes": {**_SIZES.to_json(), "rounds": 1},
    }

    # when
    record = record_of(
        contenders,
        found,
        failed={**failed, "ray": "it ended"},
        left_out={"openvino": "not installed"},
        engines=["keras"],
        about=about,
    )

    # then
    report = table.report_of(json.loads(json.dumps(record)))
    assert "plain script" in report
    assert "FAILED: ray: it ended" in report
    assert "left out: openvino: not installed" in report
    ratio = next(t for t in record["targets"]["keras"] if t["name"] == "mlp / plain script")
    assert ratio["verdict"] in {"aim", "pass", "FAIL"}
    assert chart.draw(record).startswith(b"\x89PNG")
    rows = [row.label for panel in chart.panels_of(record) for row in panel.rows]
    assert ["Fornada, keras", "plain script"] == sorted(rows)
