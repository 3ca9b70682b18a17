"""Ray Data: get, predict and put as stages of a data set; a new job each time, in a running Ray."""

import os
import tempfile
from pathlib import Path
from typing import Any

import ray

from benchmarks import contract
from benchmarks.contract import Done, Harness, Task

_IO_CPUS = 0.25


def get(row: dict[str, Any]) -> dict[str, Any]:
    """Key → key and images."""
    return {
        **row,
        "images": contract.from_npy(contract.get_bytes(contract.s3_of_process(), row["key"])),
    }


class Classifier:
    """The actor that holds the model."""

    def __init__(self, model_path: str) -> None:
        self._model = contract.load_model(Path(model_path))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Images → probabilities."""
        probabilities = self._model.predict_on_batch(row["images"])
        return {"output_key": row["output_key"], "probabilities": probabilities}


def put(row: dict[str, Any]) -> dict[str, Any]:
    """Probabilities → how many, and when they were durable."""
    contract.put_bytes(
        contract.s3_of_process(), row["output_key"], contract.to_npy(row["probabilities"])
    )
    return {"items": len(row["probabilities"]), "put_at": contract.now()}


def run_job(task: Task, *, model_path: Path) -> Done:
    """One job over all objects, a row an object."""
    rows = [{"key": key, "output_key": contract.output_key(task, key)} for key in task.keys]
    dataset = (
        ray.data.from_items(rows, override_num_blocks=len(rows))
        .map(get, num_cpus=_IO_CPUS)
        .map(Classifier, fn_constructor_args=[str(model_path)], concurrency=1, num_cpus=1)
        .map(put, num_cpus=_IO_CPUS)
    )
    written = sorted(dataset.take_all(), key=lambda row: row["put_at"])
    items = sum(row["items"] for row in written)
    figures = {}
    if len(written) > 1:
        # Without the job's start: from the first object that is written to the last.
        steady_s = written[-1]["put_at"] - written[0]["put_at"]
        figures["steady_rate"] = (items - written[0]["items"]) / steady_s
    return Done(items=items, finished_at=written[-1]["put_at"], figures=figures)


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
            # It would listen on every interface else.
            _node_ip_address="127.0.0.1",
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        harness.serve(
            lambda task: run_job(task, model_path=harness.folder / f"{task.workload}.keras"),
            packages=["ray", "keras", "tensorflow-cpu"],
            notes=f"one actor with predict_on_batch, a row an object, {_IO_CPUS} CPU a get or put",
        )
        ray.shutdown()


if __name__ == "__main__":
    main()
