"""The obvious script: get an object, `model.predict`, put the probabilities."""

from benchmarks import contract
from benchmarks.contract import Done, Harness, Task

_BATCH_SIZE = 1024


def main() -> None:
    """Serve the harness."""
    harness = Harness()
    s3 = contract.s3_client()
    models: dict[str, object] = {}

    def run(task: Task) -> Done:
        if task.workload not in models:
            models[task.workload] = contract.load_model(harness.folder / f"{task.workload}.keras")
        model: object = models[task.workload]
        items = 0
        for key in task.keys:
            images = contract.from_npy(contract.get_bytes(s3, key))
            probabilities = model.predict(images, batch_size=_BATCH_SIZE, verbose=0)  # type: ignore[attr-defined]  # keras has no types
            contract.put_bytes(s3, contract.output_key(task, key), contract.to_npy(probabilities))
            items += len(images)
        return Done(items=items, finished_at=contract.now())

    harness.serve(
        run,
        packages=["keras", "tensorflow-cpu", "boto3"],
        notes=f"one thread, model.predict(batch_size={_BATCH_SIZE})",
    )


if __name__ == "__main__":
    main()
