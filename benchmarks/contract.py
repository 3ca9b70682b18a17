"""The protocol between harness and contender, the only code that contenders share.

The harness starts a contender as a process and tells it the servers in its environment. Then
they talk in JSON lines. The contender says `{"event": "ready", …}` once; the harness sends a task
a line; the contender answers each with `{"event": "result", …}`. It ends when its stdin ends. What
it or its libraries print goes to its log. Runs in every contender's environment: NumPy and boto3,
no more.
"""

import contextlib
import functools
import importlib.metadata
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

BUCKET = "bench"
#: Of a table: what names its rows.
KEY_COLUMN = "customer"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One piece of work; a workload uses either `keys` or `count`."""

    workload: str
    #: Input objects in `BUCKET`: `.npy` of uint8 [items, *item_shape], or Parquet of a table.
    keys: list[str] = field(default_factory=list)
    #: Number of images in RAM, one submission each.
    count: int = 0
    #: Prefix of the outputs in `BUCKET`: of arrays under the inputs' file names, float32 [items,
    #: classes]; of a table in any Parquet files.
    output_prefix: str = ""
    #: A local `.npy` for answers that are not stored; written after the clock has stopped.
    answers_path: str = ""


@dataclass(frozen=True, kw_only=True)
class Done:
    """The result of a task."""

    items: int
    #: When the last result was durable (or, where nothing is stored, in hand): `time.time()`.
    finished_at: float
    #: Where the outputs are: in objects, in the file `answers_path`, or nowhere.
    answers: Literal["objects", "file", "none"] = "objects"
    #: Which of the references: `-load_img` for pixels of that loader.
    reference: str = ""
    #: The file has one row for this many images.
    answers_step: int = 1
    #: More figures, by name.
    figures: dict[str, float] = field(default_factory=dict)


class Harness:
    """The contender's side of the protocol; create it first, it takes over stdout."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._out: TextIO = os.fdopen(os.dup(1), "w", buffering=1)
        # Libraries print to stdout.
        os.dup2(2, 1)

    def serve(
        self,
        run: Callable[[Task], Done],
        *,
        packages: Sequence[str] = (),
        service_pid: int | None = None,
        notes: str = "",
    ) -> None:
        """Run tasks until the harness has no more.

        Args:
            run: Runs one task.
            packages: Distributions whose versions the record lists.
            service_pid: The serving process, if it is not this one.
            notes: Settings that a reader should know.
        """
        versions = {}
        for name in packages:
            # `tensorflow-cpu` has another name on other platforms.
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                versions[name] = importlib.metadata.version(name)
        self._say("ready", versions=versions, service_pid=service_pid, notes=notes)
        for line in sys.stdin:
            self._say("result", **asdict(run(Task(**json.loads(line)))))

    def _say(self, event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, **fields}), file=self._out, flush=True)

    @property
    def folder(self) -> Path:
        """Holds `<model>.keras`, and its items: `<model>.npy`, or `.npz` of a table's columns."""
        return Path(self._environ["BENCH_FOLDER"])

    @property
    def cores(self) -> int:
        """Cores that the contender and the servers share."""
        return int(self._environ["BENCH_CORES"])

    def images(self, model: str) -> NDArray[np.uint8]:
        """uint8 [items, *item_shape]: all images of the model, in RAM."""
        return np.ascontiguousarray(np.load(self.folder / f"{model}.npy"))

    def columns(self, model: str) -> dict[str, NDArray[Any]]:
        """All rows of a table's model, in RAM: [rows, 1] by input."""
        with np.load(self.folder / f"{model}.npz") as file:
            return {name: file[name] for name in file.files}


def s3_client(environ: Mapping[str, str] = os.environ) -> Any:
    """A plain boto3 client of the store."""
    import boto3  # noqa: PLC0415 - not every contender has a store

    return boto3.client(
        "s3",
        endpoint_url=environ["BENCH_S3_ENDPOINT_URL"],
        aws_access_key_id=environ["BENCH_S3_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["BENCH_S3_SECRET_ACCESS_KEY"],
        region_name=environ["BENCH_S3_REGION"],
    )


@functools.cache
def s3_of_process() -> Any:
    """`s3_client`, one per process."""
    return s3_client()


def get_bytes(s3: Any, key: str) -> bytes:
    """The object's bytes."""
    data: bytes = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return data


def put_bytes(s3: Any, key: str, data: bytes) -> None:
    """Write the object."""
    s3.put_object(Bucket=BUCKET, Key=key, Body=data)


def from_npy(data: bytes) -> NDArray[Any]:
    """The array in the bytes of a `.npy` file."""
    array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def to_npy(array: NDArray[Any]) -> bytes:
    """The bytes of a `.npy` file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def output_key(task: Task, key: str) -> str:
    """The key of the outputs for the input object `key`."""
    return task.output_prefix + key.rpartition("/")[2]


def latency_figures(latencies_s: Sequence[float]) -> dict[str, float]:
    """The latencies of calls as figures: median and 99th percentile, in ms."""
    p50_s, p99_s = np.percentile(latencies_s, [50, 99])
    return {"p50_ms": 1e3 * float(p50_s), "p99_ms": 1e3 * float(p99_s)}


def now() -> float:
    """The present, by the clock that harness and contenders share."""
    return time.time()


@contextlib.contextmanager
def child(arguments: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this Python, for the length of the block."""
    process = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def load_model(path: Path) -> Any:
    """The Keras model of a `.keras` file."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras  # noqa: PLC0415 - seconds, and not every contender has it

    return keras.models.load_model(path, compile=False)
