"""Metrics of a supervisor and of its worker processes, served by the supervisor."""

from collections.abc import Iterator
from contextlib import contextmanager

from fornada.events import Event
from fornada.files.scratch import scratch_folder
from fornada.metrics.exposition import exposed
from fornada.metrics.instrument import Role
from fornada.metrics.recorder import Recorder
from fornada.metrics.server import MetricsServer
from fornada.metrics.slots import SlotFiles, own_registry
from fornada.settings import Settings


class SupervisorMetrics:
    """What a supervisor passes on to its processes, and hears."""

    def __init__(self, files: SlotFiles) -> None:
        self._files = files
        self._own = own_registry()
        self._recorder = Recorder(Role.SUPERVISOR, registry=self._own)
        #: What scrapers get.
        self.registry = exposed(files.collect, self._own.collect)

    def environ(self, slot: int) -> dict[str, str]:
        """What the process of a slot needs in its environment."""
        return self._files.environ(slot)

    def hear(self, event: Event) -> None:
        """Count what happened to a process."""
        self._recorder.hear(event)
        self._files.hear(event)


@contextmanager
def supervisor_metrics(settings: Settings, *, slots: int) -> Iterator[SupervisorMetrics]:
    """Serve the metrics of `slots` processes at FORNADA_METRICS_PORT while the block runs.

    Raises:
        ConfigError: The port cannot be listened on.
        LocalDiskError: The cache folder has no room for what they count.
    """
    with scratch_folder(settings.cache_dir) as folder:
        metrics = SupervisorMetrics(SlotFiles(folder, slots=slots))
        server = MetricsServer(settings, metrics.registry)
        try:
            yield metrics
        finally:
            server.stop()
