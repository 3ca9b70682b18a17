"""Measures one contender once: starts it, runs and checks its workloads."""

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contract import BUCKET, Done, Task, from_npy, output_key
from benchmarks.measuring import process_tree
from benchmarks.measuring.conversation import ContenderError, Conversation, started
from benchmarks.measuring.servers import Servers, input_key
from benchmarks.photos import workloads as photos
from benchmarks.registry import Contender
from benchmarks.tables import from_scored
from benchmarks.workloads import WORKLOADS, Sizes

_ROOT = Path(__file__).parents[2]
#: Largest difference from `keras predict`: float32 sums in another order.
TOLERANCE = 1e-4

Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Time limits of a contender."""

    #: From its start until it is ready, and from then to its first result.
    start_s: float = 120.0
    task_s: float = 180.0


@dataclass(kw_only=True)
class Measured:
    """The figures of one contender in one round."""

    cold_start_s: float = 0.0
    rss_mib: float = 0.0
    #: Peak of the serving process and its descendants, after the first workload.
    service_rss_mib: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    notes: str = ""
    #: By workload: median items/s, passes, largest difference, more.
    workloads: dict[str, Figures] = field(default_factory=dict)


class Measurement:
    """Measures contenders on running servers."""

    def __init__(
        self, servers: Servers, sizes: Sizes, *, folder: Path, limits: Limits | None = None
    ) -> None:
        self.limits = limits or Limits()
        self._servers = servers
        self._sizes = sizes
        self._folder = folder

    def measure(self, contender: Contender, *, python: Path, log_path: Path) -> Measured:
        """Start the contender, run its workloads, end it.

        Raises:
            ContenderError: It failed, hung, or gave wrong outputs.
        """
        command = [str(python), "-m", contender.module]
        environ = {**self._servers.environ, "PYTHONPATH": str(contender.root or _ROOT)}
        if contender.kind in {"fornada", "store"}:
            models = {WORKLOADS[workload].model for workload in contender.workloads}
            environ |= self._servers.deployment(self._folder, models=models)
            environ |= dict(contender.settings)
        else:
            self._servers.empty_redis()
        with started(
            [*command, *contender.arguments],
            environ=environ,
            folder=self._folder,
            log_path=log_path,
        ) as conversation:
            return _Visit(self, contender, conversation, self._servers.output_prefix()).run()

    def task(self, contender: Contender, workload: str, *, prefix: str, warm: bool) -> Task:
        """The contender's part of the workload, or one object or call to warm up."""
        calls = self._sizes.calls.get(workload, 0)
        most = 1 if warm else contender.at_most.get(workload)
        if WORKLOADS[workload].is_table:
            # Its files may have any names: those of other passes must not be among them.
            prefix = self._servers.output_prefix()
        return Task(
            workload=workload,
            keys=[] if calls else self._keys(workload)[:most],
            count=min(calls, most or calls),
            output_prefix=f"{prefix}{workload}/",
            answers_path=str(self._folder / "answers.npy"),
        )

    def _keys(self, workload: str) -> list[str]:
        """The input objects of the workload."""
        if workload in photos.MODELS:
            return photos.input_keys(workload, self._sizes.photos)
        return [input_key(workload, number) for number in range(self._sizes.objects[workload][0])]

    def expected_items(self, contender: Contender, task: Task) -> int:
        """The number of items in the task."""
        if contender.kind == "limit":
            return self._sizes.items_of_model(WORKLOADS[task.workload].model)
        if task.workload in photos.MODELS:
            return photos.photos_in(task.workload, task.keys, self._sizes.photos)
        return task.count or len(task.keys) * self._sizes.objects[task.workload][1]

    def difference(self, task: Task, done: Done) -> float | None:
        """The largest absolute difference from `keras predict`; `None` without outputs.

        Raises:
            ContenderError: It exceeds the tolerance, or outputs are missing.
        """
        if done.answers == "none":
            return None
        answers = np.load(task.answers_path) if done.answers == "file" else self._outputs(task)
        model = WORKLOADS[task.workload].model
        name = f"{model}-reference{done.reference}.npy"
        reference = np.load(self._servers.data / name, mmap_mode="r")
        expected = reference[: done.items][:: done.answers_step]
        if answers.shape != expected.shape:
            raise ContenderError(f"its outputs are {answers.shape}, not {expected.shape}")
        difference = float(np.max(np.abs(answers - expected)))
        # NaN, which compares false with everything, must not pass.
        if not difference <= TOLERANCE:
            raise ContenderError(f"its outputs for {task.workload} differ by {difference:.3g}")
        return difference

    def is_enough(self, contender: Contender, workload: str, passes: list[Figures]) -> bool:
        """Whether these passes suffice for a round."""
        spent_s = sum(one["seconds"] for one in passes)
        pass_s = contender.pass_s.get(workload, self._sizes.pass_s)
        return spent_s >= pass_s or len(passes) >= self._sizes.most_passes

    def _outputs(self, task: Task) -> NDArray[np.float32]:
        objects = self._servers.objects
        if WORKLOADS[task.workload].is_table:
            found = objects.list(task.output_prefix)
            return from_scored([objects.get(one.key).data for one in found])
        keys = [output_key(task, key) for key in task.keys]
        return np.concatenate([from_npy(objects.get(key, bucket=BUCKET).data) for key in keys])


class _Visit:
    """One measurement of one contender."""

    def __init__(
        self,
        measurement: Measurement,
        contender: Contender,
        conversation: Conversation,
        prefix: str,
    ) -> None:
        self._measurement = measurement
        self._contender = contender
        self._conversation = conversation
        self._prefix = prefix

    def run(self) -> Measured:
        limits = self._measurement.limits
        ready = self._conversation.ready(timeout_s=limits.start_s)
        memory = self._conversation.memory
        memory.service_pid = ready["service_pid"]
        measured = Measured(versions=ready["versions"], notes=ready["notes"])
        for workload in self._contender.workloads:
            first, _, _ = self._ask(workload, warm=True, timeout_s=limits.start_s)
            if not measured.workloads:
                measured.cold_start_s = first.finished_at - self._conversation.started_at
            warm = first.figures
            measured.workloads[workload] = self._passes(workload)
            if "since_worker_start_s" in warm:
                # Only the first task includes the worker's start.
                measured.workloads[workload]["since_worker_start_s"] = warm["since_worker_start_s"]
            if len(measured.workloads) == 1:
                measured.service_rss_mib = memory.service_peak_mib
        measured.rss_mib = memory.peak_mib
        return measured

    def _passes(self, workload: str) -> Figures:
        timeout_s = self._measurement.limits.task_s
        passes: list[Figures] = []
        while not passes or not self._measurement.is_enough(self._contender, workload, passes):
            before_s = process_tree.cpu_s(self._conversation.pid)
            done, seconds, difference = self._ask(workload, warm=False, timeout_s=timeout_s)
            spent_s = process_tree.cpu_s(self._conversation.pid) - before_s
            passes.append(
                {
                    **done.figures,
                    "cpu_us": 1e6 * spent_s / done.items,
                    "items": done.items,
                    "seconds": seconds,
                    "rate": done.items / seconds,
                    "difference": difference,
                }
            )
        return combined(passes)

    def _ask(
        self, workload: str, *, warm: bool, timeout_s: float
    ) -> tuple[Done, float, float | None]:
        task = self._measurement.task(self._contender, workload, prefix=self._prefix, warm=warm)
        done, seconds = self._conversation.ask(task, timeout_s=timeout_s)
        expected = self._measurement.expected_items(self._contender, task)
        if done.items != expected:
            raise ContenderError(f"it did {done.items} items of {workload}, not {expected}")
        return done, seconds, self._measurement.difference(task, done)


def combined(passes: list[Figures]) -> Figures:
    """The median of each figure, and the largest difference, over the passes."""
    names = [name for name in passes[0] if name not in {"difference", "items", "seconds"}]
    found: Figures = {name: statistics.median(one[name] for one in passes) for name in names}
    differences = [one["difference"] for one in passes if one["difference"] is not None]
    return {
        **found,
        "items": passes[0]["items"],
        "passes": [{"seconds": round(one["seconds"], 4)} for one in passes],
        "max_abs_diff": max(differences, default=None),
    }
