"""What it costs to score a table in a store, and to write masks, beside what people write.

Rows a second from Parquet to scored Parquet: Fornada, a script of pyarrow and `model.predict`, and
Ray Data; and megabytes of masks a second, store to store.
"""

import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.contenders.fornada_worker import last_outcome_at
from benchmarks.measuring import machine
from benchmarks.measuring.environments import EnvironmentFailedError, python_of
from fornada.local.stack import Stack
from fornada.settings import Settings
from fornada.storage.opening import open_store
from producer import Client, StoredImages

_FOLDER = Path(__file__).parent
_BUCKET = "tables"
_PREFIX = "inputs/customers/"
_COLUMN_COUNT = 30
_OBJECT_ROWS, _GROUP_ROWS = 500_000, 50_000
_MASK_SIDE = 512
_TIMEOUT_S = 7200.0


@click.command()
@click.option("--rows", default=10_000_000, show_default=True, help="Rows of 30 columns.")
@click.option("--masks", default=200, show_default=True, help="Images of 512 x 512, a mask each.")
@click.option("--without-ray", is_flag=True, help="Leave Ray Data out.")
def main(rows: int, masks: int, without_ray: bool) -> None:  # noqa: FBT001 - click's
    """Measure ROWS and MASKS.

    Example: python -m benchmarks.tables --rows 2000000
    """
    print(f"load before: {machine.load()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fornada-bench-") as name:
        folder = Path(name)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("FORNADA_")}
        with Stack(data_dir=folder / "servers", environ=environ) as stack:
            more = {"FORNADA_S3_BUCKET": _BUCKET, "FORNADA_LOG_LEVEL": "WARNING"}
            bench = _Bench(folder=folder, environ={**environ, **stack.environ, **more})
            bench.make(rows)
            for label, python in _scripts(without_ray=without_ray).items():
                print(bench.script(label, python), flush=True)
            print(bench.fornada(), flush=True)
            print(bench.masks(masks), flush=True)
    print(f"load after: {machine.load()}")


def _scripts(*, without_ray: bool) -> dict[str, Path]:
    found = {"plain": Path(sys.executable)}
    if not without_ray:
        try:
            found["ray"] = python_of("ray", cache=_FOLDER / ".cache")
        except EnvironmentFailedError as exc:
            print(f"without Ray: {exc}", flush=True)
    return found


@dataclass(frozen=True, kw_only=True)
class _Bench:
    folder: Path
    environ: dict[str, str]

    def make(self, row_count: int) -> None:
        """Store the table, and publish the models of the table and of masks."""
        objects = open_store(self._settings)
        objects.create_bucket()
        rng = np.random.default_rng(0)
        for first in range(0, row_count, _OBJECT_ROWS):
            count = min(_OBJECT_ROWS, row_count - first)
            columns: dict[str, Any] = {"key": [f"C-{first + n:09}" for n in range(count)]}
            for number in range(_COLUMN_COUNT):
                columns[f"f{number:02}"] = rng.random(count, np.float32)
            file = io.BytesIO()
            parquet.write_table(pa.table(columns), file, row_group_size=_GROUP_ROWS)
            objects.put(f"{_PREFIX}{first:09}.parquet", file.getvalue())
        self._run([sys.executable, "-c", _MODELS, str(self.folder)])

    def script(self, label: str, python: Path) -> str:
        """A script in an environment of its own."""
        environ = {
            name.replace("FORNADA_", "BENCH_"): value for name, value in self.environ.items()
        }
        script = _FOLDER / "contenders" / "table_scripts.py"
        model = self.folder / "rows.keras"
        try:
            run = self._run([str(python), str(script), label, str(model), _PREFIX], environ)
        except subprocess.CalledProcessError as exc:
            return f"{label:8} failed: exit code {exc.returncode}"
        found = json.loads(run.splitlines()[-1])
        return (
            f"{label:8} {found['rows']:>9} rows {found['took_s']:7.1f} s "
            f"{found['rows'] / found['took_s']:9.0f} rows/s, peak {found['peak_mb']:.0f} MB"
        )

    def fornada(self) -> str:
        """A job of the table in a started worker, and its results as one file."""
        stored = StoredImages(bucket=_BUCKET, prefix=_PREFIX)
        with self._worker(), Client.from_settings(self._settings) as client:
            # The model is loaded and measured, as it is in a worker that serves.
            client.submit(np.zeros((100_000, _COLUMN_COUNT), np.float32), model="rows").wait(
                timeout_s=_TIMEOUT_S
            )
            began_s = time.time()
            job = client.submit(stored, model="rows", id_column="key")
            submitted_s = time.time() - began_s
            status = job.wait(timeout_s=_TIMEOUT_S)
            stored_s = last_outcome_at([status]) - began_s
            command = [sys.executable, "-m", "fornada", "jobs", "results", job.id]
            output = self.folder / "scored.parquet"
            began_s = time.time()
            self._run([*command, "--format", "parquet", "--output", str(output)])
            written_s = time.time() - began_s
        rows = parquet.read_metadata(output).num_rows
        assert (rows, status.items_failed) == (job.manifest.item_count, 0)
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
        return (
            f"fornada  {rows:>9} rows {stored_s:7.1f} s {rows / stored_s:9.0f} rows/s in the store "
            f"(submitted after {submitted_s:.1f} s), {written_s:.1f} s more for one file, "
            f"{rows / (stored_s + written_s):.0f} rows/s in all; largest process {peak_mb:.0f} MB"
        )

    def masks(self, image_count: int) -> str:
        """Images in the store to a mask of float32 each in the store."""
        images = np.random.default_rng(0).integers(
            0, 256, (image_count, _MASK_SIDE, _MASK_SIDE, 3), np.uint8
        )
        objects = open_store(self._settings)
        for first in range(0, image_count, 20):
            file = io.BytesIO()
            np.save(file, images[first : first + 20])
            objects.put(f"inputs/images/{first:06}.npy", file.getvalue())
        stored = StoredImages(bucket=_BUCKET, prefix="inputs/images/")
        with self._worker(), Client.from_settings(self._settings) as client:
            client.submit(images[:20], model="masks").wait(timeout_s=_TIMEOUT_S)
            began_s = time.time()
            status = client.submit(stored, model="masks").wait(timeout_s=_TIMEOUT_S)
            took_s = last_outcome_at([status]) - began_s
        assert status.items_ok == image_count
        mask_mb = image_count * _MASK_SIDE**2 * 4 / 1e6
        return (
            f"masks    {image_count:>9} of 1 MB in {took_s:.1f} s: {mask_mb / took_s:.0f} MB/s of "
            f"masks, {images.nbytes / 1e6 / took_s:.0f} MB/s of images, store to store"
        )

    @contextmanager
    def _worker(self) -> Iterator[None]:
        command = [sys.executable, "-P", "-m", "fornada", "worker"]
        with subprocess.Popen(command, env=self.environ) as supervisor:
            try:
                yield
            finally:
                supervisor.terminate()
                supervisor.wait(60)

    @property
    def _settings(self) -> Settings:
        return Settings.from_env(self.environ)

    def _run(self, command: list[str], environ: dict[str, str] | None = None) -> str:
        run = subprocess.run(
            command, env=environ or self.environ, stdout=subprocess.PIPE, text=True, check=True
        )
        return run.stdout


_MODELS = """
import sys
from pathlib import Path
import keras
import model_store
rows = keras.Input((30,), name="rows")
hidden = keras.layers.Dense(64, activation="relu")(rows)
hidden = keras.layers.Dense(32, activation="relu")(hidden)
score = keras.layers.Dense(1, activation="sigmoid", name="score")(hidden)
model = keras.Model(rows, score)
model.save(Path(sys.argv[1], "rows.keras"))
model_store.publish(model, name="rows")
photo = keras.Input((512, 512, 3), dtype="uint8", name="photo")
pixels = keras.layers.Rescaling(1 / 255)(photo)
mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="mask")(pixels)
model_store.publish(keras.Model(photo, mask), name="masks")
"""


if __name__ == "__main__":
    main()
