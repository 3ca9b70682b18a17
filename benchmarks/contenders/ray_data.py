"""Ray Data: get, predict and put as stages of a data set; each task is a new job."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import ray
from pyarrow.fs import S3FileSystem

from benchmarks import contract, tables
from benchmarks.contract import BUCKET, Done, Harness, Task

_IO_CPUS = 0.25
_BATCH_ROWS = 8192
#: The job behind the *steady* rate reads each object this often, and only its second half counts:
#: in the first one the actor loads the model and processes start.
_STEADY_LAPS = 5
#: The same for tables, whose rows take far less than an image.
_STEADY_TABLE_LAPS = 25


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


class RowClassifier:
    """The actor that holds the model of rows; it notes each batch, with the time, in a file."""

    def __init__(self, model_path: str, notes_path: str) -> None:
        self._model = contract.load_model(Path(model_path))
        self._notes_path = Path(notes_path)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Columns → keys and probabilities."""
        probabilities = self._model.predict_on_batch(tables.as_inputs(batch))
        note = {"items": len(probabilities), "put_at": contract.now()}
        with self._notes_path.open("a", encoding="ascii") as notes:
            notes.write(json.dumps(note) + "\n")
        return tables.scored(batch[contract.KEY_COLUMN], probabilities)


def run_table_job(task: Task, *, model_path: Path) -> Done:
    """One job from Parquet to Parquet, then a longer one for the steady rate."""
    store = _store()
    noted = _score_table(task.keys, task.output_prefix, model_path=model_path, store=store)
    finished_at = contract.now()
    figures = {}
    if len(task.keys) > 1:
        elsewhere = f"steady-{task.output_prefix}"
        longer = task.keys * _STEADY_TABLE_LAPS
        figures["steady_rate"] = _steady_rate(
            _score_table(longer, elsewhere, model_path=model_path, store=store)
        )
    items = sum(batch["items"] for batch in noted)
    return Done(items=items, finished_at=finished_at, figures=figures)


def _score_table(
    keys: list[str], prefix: str, *, model_path: Path, store: Any
) -> list[dict[str, Any]]:
    """What a job predicted: a note for each batch, oldest first."""
    dataset = ray.data.read_parquet([f"{BUCKET}/{key}" for key in keys], filesystem=store)
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "notes.jsonl")
        dataset.map_batches(
            RowClassifier,
            fn_constructor_args=[str(model_path), str(notes)],
            batch_size=_BATCH_ROWS,
            concurrency=1,
            num_cpus=1,
        ).write_parquet(f"{BUCKET}/{prefix}", filesystem=store, try_create_dir=False)
        return [json.loads(line) for line in notes.read_text(encoding="ascii").splitlines()]


def _store() -> Any:
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
    # The S3 server takes no body of unknown length, as one with a checksum behind it is.
    os.environ["AWS_REQUEST_CHECKSUM_CALCULATION"] = "when_required"
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

        def run(task: Task) -> Done:
            run_one = run_table_job if task.workload == "table" else run_job
            return run_one(task, model_path=harness.folder / f"{task.workload}.keras")

        harness.serve(
            run,
            packages=["ray", "keras", "tensorflow-cpu"],
            notes=(
                f"one actor with predict_on_batch; images: a row an object, {_IO_CPUS} CPU a get "
                f"or put; tables: read_parquet, batches of {_BATCH_ROWS}, write_parquet"
            ),
        )
        ray.shutdown()


if __name__ == "__main__":
    main()
