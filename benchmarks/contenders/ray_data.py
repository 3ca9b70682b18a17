"""Ray Data: get, predict and put as stages of a data set; each task is a new job."""

import os
import tempfile
from pathlib import Path
from typing import Any

import ray

from benchmarks import contract
from benchmarks.contract import Done, Harness, Task

_IO_CPUS = 0.25
#: The job behind the *steady* rate reads each object this often, and only its second half counts:
#: in the first one the actor loads the model and processes start.
_STEADY_LAPS = 5


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
    """Probabilities → their number, and when they were durable."""
    contract.put_bytes(
        contract.s3_of_process(), row["output_key"], contract.to_npy(row["probabilities"])
    )
    return {"items": len(row["probabilities"]), "put_at": contract.now()}


def run_job(task: Task, *, model_path: Path) -> Done:
    """One job over all objects, then a longer one for the steady rate."""
    written = _written(task, task.keys, model_path=model_path)
    figures = {}
    if len(task.keys) > 1:
        figures["steady_rate"] = _steady_rate(
            _written(task, task.keys * _STEADY_LAPS, model_path=model_path)
        )
    return Done(
        items=sum(row["items"] for row in written),
        finished_at=written[-1]["put_at"],
        figures=figures,
    )


def _written(task: Task, keys: list[str], *, model_path: Path) -> list[dict[str, Any]]:
    """What a job wrote: a row per object, oldest first."""
    rows = [{"key": key, "output_key": contract.output_key(task, key)} for key in keys]
    dataset = (
        ray.data.from_items(rows, override_num_blocks=len(rows))
        .map(get, num_cpus=_IO_CPUS)
        .map(Classifier, fn_constructor_args=[str(model_path)], concurrency=1, num_cpus=1)
        .map(put, num_cpus=_IO_CPUS)
    )
    return sorted(dataset.take_all(), key=lambda row: row["put_at"])


def _steady_rate(written: list[dict[str, Any]]) -> float:
    """Items a second in the second half of a job."""
    first, *others = written[len(written) // 2 :]
    item_count: int = sum(row["items"] for row in others)
    spent_s: float = others[-1]["put_at"] - first["put_at"]
    return item_count / spent_s


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
            lambda task: run_job(task, model_path=harness.folder / f"{task.workload}.keras"),
            packages=["ray", "keras", "tensorflow-cpu"],
            notes=f"one actor with predict_on_batch, a row an object, {_IO_CPUS} CPU a get or put",
        )
        ray.shutdown()


if __name__ == "__main__":
    main()
