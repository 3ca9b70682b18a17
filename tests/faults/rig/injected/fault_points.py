"""What a worker process does to itself when a test says so, by files in a folder.

armed/<point>: a mark for each time that a process is to come past that point; each takes the first
one away, and kills itself where that is an x, or stops itself where it is an s. So the product's
speed is no matter: which passages it happens at is said beforehand.
pause: seconds that each message waits before it is begun.
killed/<point>.<ns>: one did; holds what it ran, `worker` or `worker.shards.isolated`.
hung/item.<ns>: one hangs over an item; holds the same.
ends/<job>.<ns>: one wrote the job's final.json; holds the bytes.
leased/<job>.<ns>: one was told that another is at the shard.
Items that begin with POISON kill the process that predicts them, those with HANG stop it for
ever, those with SLOW take longer; a model named `poison` kills the process that loads it.
FAULT_VISIBILITY_TIMEOUT_S: what a worker holds for so long is delivered again.
"""

import contextlib
import ctypes
import fcntl
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

#: First rows of items of 8 by 8.
POISON = b"POISON!!"
HANG = b"HANGS!!!"
SLOW = b"SLOW!!!!"

_FINAL = "/final.json"
_FOR_EVER_S = 10_000_000
_SLOW_S = 6


class FaultPoints:
    """The points of one process, and the folder that says which of them are live."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def at(self, point: str) -> None:
        """Die or stop here, if a test wants that of the one who comes here now."""
        armed = self._folder / "armed" / point
        if not armed.exists():
            return
        # While the process stops, no other thread of it takes the mark that is for another.
        with self._lock:
            mark = _take(armed)
            if mark == "x":
                self.die(point)
            elif mark == "s":
                # All threads stop. By `kill` another one may get the signal, and this one run on.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    def pause(self) -> None:
        """Wait, if a test wants work to last."""
        with contextlib.suppress(FileNotFoundError):
            time.sleep(float((self._folder / "pause").read_text()))

    def die(self, point: str) -> None:
        """Die here."""
        # -P -m MODULE
        self._note(f"killed/{point}", sys.orig_argv[3].encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def hang(self) -> None:
        """Stop here for ever, with all threads that run Python."""
        self._note("hung/item", sys.orig_argv[3].encode())
        # Unlike CDLL, it keeps the GIL.
        ctypes.PyDLL(None).sleep(_FOR_EVER_S)

    def note_leased(self, job_id: str) -> None:
        """Record that a shard's second message found the first one's attempt at work."""
        self._note(f"leased/{job_id}", b"")

    def note_end(self, key: str, data: bytes) -> None:
        """Record that a job's end was written."""
        self._note(f"ends/{key.split('/')[-2]}", data)

    def _note(self, name: str, data: bytes) -> None:
        part = self._folder / f"{name}.{os.getpid()}-{threading.get_ident()}.part"
        part.write_bytes(data)
        part.replace(self._folder / f"{name}.{time.time_ns()}")


def _take(armed: Path) -> str:
    """The first of the marks that are left."""
    try:
        file = armed.open("r+")
    except FileNotFoundError:
        return ""
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        marks = file.read()
        file.seek(0)
        file.write(marks[1:])
        file.truncate()
    return marks[:1]


def install(folder: Path) -> None:
    """Have the product's modules patched as they are imported."""
    sys.meta_path.insert(0, _PatchingFinder(FaultPoints(folder)))


class _PatchingFinder(MetaPathFinder):
    """Finds what the finders behind it find; some of that is patched when it has run."""

    def __init__(self, points: FaultPoints) -> None:
        self._points = points

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module that is to be patched, else nothing."""
        patch = _PATCHES.get(fullname)
        if patch is None:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_patch(module: ModuleType) -> None:
                execute(module)
                patch(module, self._points)

            spec.loader.exec_module = execute_and_patch
        return spec


def _wrap(
    owner: Any,
    name: str,
    *,
    before: Callable[..., None] = lambda *_: None,
    after: Callable[..., None] = lambda *_: None,
) -> None:
    """Call `before(*arguments)` and `after(result, *arguments)` around a function of `owner`."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        before(*args)
        result = original(*args, **kwargs)
        after(result, *args)
        return result

    setattr(owner, name, call)


def _patch_coordination(module: Any, points: FaultPoints) -> None:
    def begun(results: Any, _coordination: Any, claims: Any, *_: Any) -> None:
        for claim, result in zip(claims, results, strict=True):
            if result.status == "begun":
                points.at("begun")
            elif result.status == "leased":
                points.note_leased(claim.job_id)

    redis = module.RedisCoordination
    _wrap(redis, "begin", before=lambda *_: points.at("before-begin"), after=begun)
    _wrap(redis, "mark_done", after=lambda *_: points.at("marked-done"))


def _patch_broker(module: Any, _points: FaultPoints) -> None:
    timeout_s = os.environ.get("FAULT_VISIBILITY_TIMEOUT_S")
    if timeout_s is None:
        return
    # Looked for every second, and not every hundred.
    often = {"unacked_restore_interval": 1, "unacked_restore_throttle": 1}

    def shorten(config: dict[str, Any], *_: Any) -> None:
        config["broker_transport_options"] |= {"visibility_timeout": int(timeout_s), **often}

    _wrap(module, "celery_config", after=shorten)


def _patch_object_store(module: Any, points: FaultPoints) -> None:
    def before(_store: Any, key: str, _data: bytes) -> None:
        if key.endswith(_FINAL):
            points.at("before-final")

    def after(written: bool | None, _store: Any, key: str, data: bytes) -> None:  # noqa: FBT001 - what the method answers
        if key.endswith(_FINAL) and written is not False:
            points.note_end(key, data)
            points.at("final-put")
        elif "/data/" in key:
            points.at("data-put")
        elif "/input/" in key:
            points.at("input-put")

    for name in ("put", "put_if_absent"):
        _wrap(module.S3ObjectStore, name, before=before, after=after)


def _patch_job_store(module: Any, points: FaultPoints) -> None:
    _wrap(
        module.JobStore,
        "commit",
        before=lambda *_: points.at("before-commit"),
        after=lambda *_: points.at("committed"),
    )
    for name in ("create", "create_named"):
        _wrap(module.JobStore, name, after=lambda *_: points.at("manifest-put"))


def _patch_open_jobs(module: Any, points: FaultPoints) -> None:
    _wrap(module.RedisOpenJobs, "open_job", after=lambda *_: points.at("job-listed"))
    _wrap(module.RedisOpenJobs, "register_small_jobs", after=lambda *_: points.at("jobs-admitted"))


def _patch_sender(module: Any, points: FaultPoints) -> None:
    bundles_of = module.bundles_of

    def bundles(*args: Any, **kwargs: Any) -> Any:
        for bundle in bundles_of(*args, **kwargs):
            yield bundle
            points.at("message-made")

    module.bundles_of = bundles
    _wrap(module.CelerySender, "_send", after=lambda *_: points.at("messages-sent"))


def _patch_computation(module: Any, points: FaultPoints) -> None:
    _wrap(module, "decode_items", after=lambda *_: points.at("input-read"))


def _patch_batcher(module: Any, points: FaultPoints) -> None:
    _wrap(module.Batcher, "predict_groups", after=lambda *_: points.at("predicted"))


def _patch_predictor(module: Any, points: FaultPoints) -> None:
    def load(_predictor: Any, manifest: Any, *_: Any) -> None:
        if manifest.name == "poison":
            points.die("poison-model")

    def predict_tile(_predictor: Any, tile: Any) -> None:
        firsts = {row.tobytes() for row in tile.arrays[0][:, 0]}
        if POISON in firsts:
            points.die("poison-item")
        if HANG in firsts:
            points.hang()
        if SLOW in firsts:
            time.sleep(_SLOW_S)

    _wrap(module.EnginePredictor, "__init__", before=load)
    _wrap(module.EnginePredictor, "predict_tile", before=predict_tile)


def _patch_service(module: Any, points: FaultPoints) -> None:
    _wrap(
        module.ShardService,
        "run_bundle",
        before=lambda *_: points.pause(),
        after=lambda *_: points.at("before-ack"),
    )


_PATCHES: dict[str, Callable[[Any, FaultPoints], None]] = {
    "fornada.coordination.redis": _patch_coordination,
    "fornada.queue.celery_config": _patch_broker,
    "fornada.jobs.store": _patch_job_store,
    "fornada.storage.s3.store": _patch_object_store,
    "fornada.coordination.redis_jobs": _patch_open_jobs,
    "fornada.queue.celery_queue": _patch_sender,
    "worker.compute.batcher": _patch_batcher,
    "worker.shards.computation": _patch_computation,
    "worker.compute.predictor": _patch_predictor,
    "worker.shards.service": _patch_service,
}
