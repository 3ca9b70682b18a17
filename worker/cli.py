"""`fornada worker`."""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import click

from fornada import logs
from fornada.commands.output import say
from fornada.coordination.redis import RedisCoordination
from fornada.errors import FornadaError, LocalDiskError, UsageError
from fornada.events import LOGGED, Events
from fornada.files.private_folder import check_private, make_private
from fornada.files.refusals import what_helps
from fornada.files.scratch import remove_leftovers, scratch_folder
from fornada.jobs.bucket_id import BucketCheck
from fornada.logs import get_logger
from fornada.metrics.requirement import require_metrics
from fornada.settings import Settings
from fornada.storage.opening import open_store
from fornada.trust.input_prefixes import InputPrefixes
from model_store.engines.catalog import find_engine, require_engine
from worker.host.hardware import gpu_of_each, granted_cores, visible_gpus
from worker.host.health import live_and_stale
from worker.host.supervisor import Supervisor, worker_command

log = get_logger(__name__)


@click.command()
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    help="Worker processes; the cores are split between them. One predicts on all of them, and "
    "has each model once.  [default: 1, or one for each GPU]",
)
@click.option(
    "--exact",
    is_flag=True,
    help="Predict in float64 and round once, as with FORNADA_ENGINE=keras-exact.",
)
@click.option(
    "--health",
    is_flag=True,
    help="Start nothing: exit 0 if every worker of this machine shows life, else 1.",
)
def worker(processes: int | None, exact: bool, health: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Run workers that predict queued jobs, until Ctrl-C or SIGTERM.

    A worker finishes the shards that it holds before it ends; one that dies or hangs is replaced.

    Example: fornada worker --processes 2
    """
    settings = Settings.from_env(os.environ)
    if health:
        sys.exit(_report_health(settings))
    if exact:
        settings = _exact(settings)
    engine = require_engine(settings.engine)
    # An unusable one is told here, once, and not by each process.
    InputPrefixes.from_settings(settings)
    _require_folder(settings.cache_dir)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    _require_own_bucket(settings)
    gpus = visible_gpus(os.environ) if engine.uses_gpus() else []
    environs = [
        {**gpu, "FORNADA_ENGINE": engine.name}
        for gpu in gpu_of_each(gpus, processes=processes or len(gpus) or 1)
    ]
    sys.exit(_supervise(settings, environs))


def _supervise(settings: Settings, environs: list[dict[str, str]]) -> int:
    """Run a process for each of `environs`, and serve their metrics if that is asked for."""
    events = LOGGED
    with contextlib.ExitStack() as held:
        if settings.metrics_port is not None:
            require_metrics()
            from fornada.metrics.supervision import supervisor_metrics  # noqa: PLC0415 - optional package

            metrics = held.enter_context(supervisor_metrics(settings, slots=len(environs)))
            environs = [{**e, **metrics.environ(slot)} for slot, e in enumerate(environs)]
            events = Events(LOGGED.tell, metrics.hear)
        threads = max(1, granted_cores() // len(environs))
        return Supervisor(
            worker_command(threads=threads),
            environs=environs,
            cache_dir=settings.cache_dir,
            events=events,
        ).run()


def _exact(settings: Settings) -> Settings:
    exact = find_engine(settings.engine).exact
    if exact is None:
        raise UsageError(
            f"FORNADA_ENGINE={settings.engine} has no exact form; unset it, or leave out --exact"
        )
    return settings.model_copy(update={"engine": exact})


def _report_health(settings: Settings) -> int:
    for folder in (settings.cache_dir, settings.cache_dir / "workers"):
        check_private(folder, setting="FORNADA_CACHE_DIR")
    live, stale = live_and_stale(settings.cache_dir)
    say(f"{len(live)} workers show life, {len(stale)} do not")
    return 0 if live and not stale else 1


def _require_own_bucket(settings: Settings) -> None:
    """Check that Redis belongs to the bucket, unless one of them is away: workers wait for it."""
    try:
        BucketCheck.from_settings(
            settings,
            objects=open_store(settings),
            coordination=RedisCoordination.from_settings(settings),
        ).check()
    except FornadaError as exc:
        if exc.fault != "transient":
            raise
        log.warning("bucket not compared with Redis yet", error=str(exc))


def _require_folder(folder: Path) -> None:
    """Check that `folder` can hold models and health files, and remove what killed workers left."""
    make_private(folder, setting="FORNADA_CACHE_DIR")
    for leftovers in (folder / "artifacts", Path(tempfile.gettempdir())):
        remove_leftovers(leftovers)
    try:
        with scratch_folder(folder) as scratch:
            (scratch / "probe").write_bytes(bytes(4096))
    except OSError as exc:
        raise LocalDiskError(
            f"{folder} cannot be written ({exc.strerror}); {what_helps(exc)}, or set "
            "FORNADA_CACHE_DIR to another disk"
        ) from exc
