"""The rounds of a run: each runs every contender once, except those that have failed."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measuring.conversation import ContenderError
from benchmarks.measuring.environments import EnvironmentFailedError, python_of
from benchmarks.measuring.measurement import Measured
from benchmarks.registry import Contender
from fornada.errors import FornadaError

#: Measures a contender with this Python and this log.
Measure = Callable[[Contender, Path, Path], Measured]


def run_rounds(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    measure: Measure,
    pythons: dict[str, Path],
    logs: Path,
) -> tuple[dict[str, list[Measured]], dict[str, str]]:
    """Measure all contenders, round by round.

    Returns:
        The figures of each contender, and the reasons of those that failed.
    """
    found: dict[str, list[Measured]] = {contender.name: [] for contender in contenders}
    failed: dict[str, str] = {}
    for number in range(rounds):
        for contender in _turned(contenders, number):
            if contender.name in failed or number >= (contender.rounds or rounds):
                continue
            began = time.monotonic()
            log_path = logs / f"{contender.name}.log"
            try:
                measured = measure(contender, pythons[contender.name], log_path)
            except (ContenderError, FornadaError, OSError, ValueError) as exc:
                # Outputs may be missing, or no arrays.
                failed[contender.name] = str(exc)
                print(f"  {contender.name} FAILED: {exc}", flush=True)
                continue
            found[contender.name].append(measured)
            spent_s = time.monotonic() - began
            _tell(f"round {number + 1}/{rounds}", contender.name, measured, spent_s)
    return found, failed


def _turned(contenders: Sequence[Contender], number: int) -> list[Contender]:
    """Rotated, so that no contender always follows the same one."""
    shift = number * max(1, len(contenders) // 3) % len(contenders)
    return [*contenders[shift:], *contenders[:shift]]


def _tell(where: str, name: str, measured: Measured, spent_s: float) -> None:
    rates = ", ".join(f"{w} {f['rate']:,.0f}/s" for w, f in measured.workloads.items())
    print(f"  {where}  {name:<16} {spent_s:4.0f} s  {rates}", flush=True)


def find_pythons(
    contenders: Sequence[Contender], *, cache: Path, left_out: dict[str, str]
) -> dict[str, Path]:
    """The Python of each contender whose environment can be created."""
    pythons: dict[str, Path] = {}
    for contender in contenders:
        try:
            pythons[contender.name] = (
                Path(sys.executable)
                if contender.environment is None
                else python_of(contender.environment, cache=cache)
            )
        except EnvironmentFailedError as exc:
            left_out[contender.name] = str(exc)
    return pythons


def medians(measured: Sequence[Measured]) -> dict[str, Any]:
    """The median of every figure of one contender over all rounds, by workload."""
    by_workload: dict[str, dict[str, float]] = {}
    for workload in measured[0].workloads:
        rounds = [one.workloads[workload] for one in measured]
        numbers = [name for name, value in rounds[0].items() if isinstance(value, (int, float))]
        by_workload[workload] = {
            name: statistics.median(one[name] for one in rounds) for name in numbers
        }
    starts = ("cold_start_s", "rss_mib", "service_rss_mib")
    return {
        **{name: statistics.median(asdict(one)[name] for one in measured) for name in starts},
        "workloads": by_workload,
    }
