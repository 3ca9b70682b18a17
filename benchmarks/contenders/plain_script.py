"""The obvious script: get an object, `model.predict`, put the probabilities."""

from typing import Any

from benchmarks import contract
from benchmarks.contract import Done, Harness, Task

_BATCH_SIZE = 1024
_BATCH_ROWS = 8192


def main() -> None:
    """Serve the harness."""
    harness = Harness()
    s3 = contract.s3_client()
    models: dict[str, Any] = {}

    def run(task: Task) -> Done:
        name = task.workload
        if name not in models:
            models[name] = contract.load_model(harness.folder / f"{name}.keras")
        score = _score_table if name == "table" else _score_images
        items = 0
        for key in task.keys:
            count, scored = score(models[name], contract.get_bytes(s3, key))
            contract.put_bytes(s3, contract.output_key(task, key), scored)
            items += count
        return Done(items=items, finished_at=contract.now())

    harness.serve(
        run,
        packages=["keras", "tensorflow-cpu", "boto3"],
        notes=f"one thread, model.predict(batch_size={_BATCH_SIZE}), {_BATCH_ROWS} for rows",
    )


def _score_images(model: Any, data: bytes) -> tuple[int, bytes]:
    images = contract.from_npy(data)
    probabilities = model.predict(images, batch_size=_BATCH_SIZE, verbose=0)
    return len(images), contract.to_npy(probabilities)


def _score_table(model: Any, data: bytes) -> tuple[int, bytes]:
    from benchmarks import tables  # noqa: PLC0415 - pyarrow adds to the other workloads' start

    keys, inputs = tables.from_table(data)
    probabilities = model.predict(inputs, batch_size=_BATCH_ROWS, verbose=0)
    return len(keys), tables.to_scored(keys, probabilities)


if __name__ == "__main__":
    main()
