"""Ray Data: `read_images` from the store, `map_batches` with the model; each task is a new job."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import ray
from pyarrow.fs import S3FileSystem

from benchmarks import contract
from benchmarks.contract import BUCKET, Done, Harness, Task
from benchmarks.photos.workloads import MODELS, SIDES

_BATCH_SIZE = 32


class Classifier:
    """The actor that holds the model."""

    def __init__(self, model_path: str) -> None:
        self._model = contract.load_model(Path(model_path))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Pixels → probabilities, and when they were there."""
        probabilities = self._model.predict_on_batch(batch["image"].astype(np.float32))
        done_at = np.full(len(probabilities), contract.now())
        return {"path": batch["path"], "probabilities": probabilities, "done_at": done_at}


def run_job(task: Task, *, folder: Path) -> Done:
    """One job over all photographs."""
    name = MODELS[task.workload]
    side = SIDES[name]
    rows = (
        ray.data.read_images(
            [f"{BUCKET}/{key}" for key in task.keys],
            filesystem=_file_system(),
            size=(side, side),
            mode="RGB",
            include_paths=True,
        )
        .map_batches(
            Classifier,
            fn_constructor_args=[str(folder / f"{name}.keras")],
            batch_size=_BATCH_SIZE,
            concurrency=1,
            num_cpus=1,
        )
        .take_all()
    )
    probabilities = np.stack([r["probabilities"] for r in sorted(rows, key=lambda r: r["path"])])
    contract.put_bytes(
        contract.s3_of_process(),
        contract.output_key(task, "all.npy"),
        contract.to_npy(probabilities),
    )
    finished_at = contract.now()
    np.save(task.answers_path, probabilities)
    return Done(
        items=len(rows),
        finished_at=finished_at,
        answers="file",
        reference="-load_img",
        figures=_steady(sorted(row["done_at"] for row in rows)),
    )


def _steady(done_at: list[float]) -> dict[str, float]:
    """The rate of the second half: in the first the actor loads the model and processes start."""
    first, *others = done_at[len(done_at) // 2 :]
    # A batch is done at one moment.
    later = [at for at in others if at > first]
    return {"steady_rate": len(later) / (later[-1] - first)} if later else {}


def _file_system() -> S3FileSystem:
    return S3FileSystem(
        access_key=os.environ["BENCH_S3_ACCESS_KEY_ID"],
        secret_key=os.environ["BENCH_S3_SECRET_ACCESS_KEY"],
        endpoint_override=os.environ["BENCH_S3_ENDPOINT_URL"],
        region=os.environ["BENCH_S3_REGION"],
    )


def main() -> None:
    """Serve the harness."""
    harness = Harness()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(
            num_cpus=harness.cores,
            include_dashboard=False,
            object_store_memory=2**30,
            log_to_driver=False,
            _temp_dir=folder,
            # By default it listens on every interface.
            _node_ip_address="127.0.0.1",
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        harness.serve(
            lambda task: run_job(task, folder=harness.folder),
            packages=["ray", "keras", "tensorflow-cpu", "pillow"],
            notes=f"read_images, one actor with predict_on_batch of {_BATCH_SIZE}",
        )
        ray.shutdown()


if __name__ == "__main__":
    main()
