"""The obvious script: get photographs, `load_img`, `model.predict`, put the probabilities."""

import io
from typing import Any

import numpy as np

from benchmarks import contract
from benchmarks.contract import Done, Harness, Task
from benchmarks.photos.workloads import MODELS, SIDES

_BATCH_SIZE = 32


def main() -> None:
    """Serve the harness."""
    harness = Harness()
    s3 = contract.s3_client()
    models: dict[str, Any] = {}

    def run(task: Task) -> Done:
        name = MODELS[task.workload]
        if name not in models:
            models[name] = contract.load_model(harness.folder / f"{name}.keras")
        side = SIDES[name]
        parts = []
        for first in range(0, len(task.keys), _BATCH_SIZE):
            keys = task.keys[first : first + _BATCH_SIZE]
            batch = np.stack([_pixels(contract.get_bytes(s3, key), side) for key in keys])
            parts.append(models[name].predict(batch, verbose=0))
        probabilities = np.concatenate(parts)
        contract.put_bytes(s3, contract.output_key(task, "all.npy"), contract.to_npy(probabilities))
        finished_at = contract.now()
        np.save(task.answers_path, probabilities)
        return Done(
            items=len(probabilities),
            finished_at=finished_at,
            answers="file",
            reference="-load_img",
        )

    harness.serve(
        run,
        packages=["keras", "tensorflow-cpu", "pillow", "boto3"],
        notes=f"one thread, load_img(interpolation='bilinear'), predict of {_BATCH_SIZE}",
    )


def _pixels(data: bytes, side: int) -> Any:
    import keras  # noqa: PLC0415 - seconds, after the model

    loaded = keras.utils.load_img(
        io.BytesIO(data), target_size=(side, side), interpolation="bilinear"
    )
    return keras.utils.img_to_array(loaded)


if __name__ == "__main__":
    main()
