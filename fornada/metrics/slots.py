"""Files in which worker processes count: a folder for each slot of their supervisor.

They are mapped into memory, so what a killed process has counted stays, and the process that
follows in its slot counts on.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Metric, values
from prometheus_client.multiprocess import MultiProcessCollector

from fornada.errors import LocalDiskError
from fornada.events import Event
from fornada.events.processes import WorkerEnded
from fornada.metrics.instrument import Merging

#: Where prometheus-client looks for its folder.
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
#: The name in files of the process that has the slot. Not its number, or files would grow in count.
_PROCESS = "process"
#: About 8,000 series.
_FILE_BYTES = 1024 * 1024
#: How a file begins of which nothing is in use.
_NOTHING_IN_USE = bytes(8)
_LIVE = f"gauge_{Merging.LIVE_MAX}_{_PROCESS}.db"
_FILES = (
    f"counter_{_PROCESS}.db",
    f"histogram_{_PROCESS}.db",
    f"gauge_{Merging.MAX}_{_PROCESS}.db",
    _LIVE,
)


class SlotFiles:
    """The files of a supervisor's processes."""

    def __init__(self, folder: Path, *, slots: int) -> None:
        """Make the files of `slots` processes in an empty folder.

        Raises:
            LocalDiskError: The disk has no room for them.
        """
        self._folders = [folder / str(slot) for slot in range(slots)]
        try:
            for slot_folder in self._folders:
                slot_folder.mkdir()
                for name in _FILES:
                    _make(slot_folder / name)
        except OSError as exc:
            raise LocalDiskError(
                f"{folder} has no room for metrics ({exc.strerror}); free "
                f"{slots * len(_FILES) * _FILE_BYTES >> 20} MiB there, or unset "
                "FORNADA_METRICS_PORT"
            ) from exc

    def environ(self, slot: int) -> dict[str, str]:
        """What the process of a slot needs in its environment."""
        return {_VARIABLE: str(self._folders[slot])}

    def hear(self, event: Event) -> None:
        """Forget what was so only while a process ran."""
        if isinstance(event, WorkerEnded):
            # A removed file would have to be made anew, for which the disk may have no room by now.
            with (self._folders[event.slot] / _LIVE).open("r+b") as file:
                file.write(_NOTHING_IN_USE)

    def collect(self) -> Iterable[Metric]:
        """The metrics of all processes together."""
        paths = [str(folder / name) for folder in self._folders for name in _FILES]
        merge: Callable[[list[str]], Iterable[Metric]] = MultiProcessCollector.merge
        return merge(paths)


def slot_registry(environ: Mapping[str, str]) -> CollectorRegistry | None:
    """A registry that counts in the files of the process's slot; `None` if it has none.

    `environ` is the one with which the process was started.
    """
    if _VARIABLE not in environ:
        return None
    # Its documentation does so for servers that number their processes.
    made_for: Callable[[Callable[[], str]], Any] = values.MultiProcessValue
    values.ValueClass = made_for(lambda: _PROCESS)
    return CollectorRegistry()


def own_registry() -> CollectorRegistry:
    """A registry of a process that serves what it counts itself, whatever its environment says."""
    values.ValueClass = values.MutexValue
    return CollectorRegistry()


def _make(path: Path) -> None:
    # Written, not only made so long: a process that maps a file for which the disk has no room is
    # killed when it counts.
    with path.open("xb") as file:
        file.write(bytes(_FILE_BYTES))
