"""`tf.data` as Keras's own loader builds it, from the store: parallel get and decode, predict."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import contract
from benchmarks.contract import Done, Harness, Task
from benchmarks.photos.workloads import MODELS, SIDES

#: That of `image_dataset_from_directory`.
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
        data_set = _data_set(task.keys, SIDES[name], get=lambda key: contract.get_bytes(s3, key))
        probabilities = models[name].predict(data_set, verbose=0)
        contract.put_bytes(s3, contract.output_key(task, "all.npy"), contract.to_npy(probabilities))
        finished_at = contract.now()
        np.save(task.answers_path, probabilities)
        return Done(items=len(probabilities), finished_at=finished_at, answers="file")

    harness.serve(
        run,
        packages=["keras", "tensorflow-cpu", "boto3"],
        notes=f"map with AUTOTUNE to get, and to decode; batches of {_BATCH_SIZE}, prefetched",
    )


def _data_set(keys: list[str], side: int, *, get: Callable[[str], bytes]) -> Any:
    import tensorflow as tf  # noqa: PLC0415 - seconds, after the model

    def fetched(key: Any) -> Any:
        data = tf.numpy_function(lambda name: get(name.decode()), [key], tf.string)
        return tf.ensure_shape(data, [])

    def decoded(data: Any) -> Any:
        pixels = tf.io.decode_image(data, channels=3, expand_animations=False)
        return tf.image.resize(pixels, (side, side), method="bilinear")

    return (
        tf.data.Dataset.from_tensor_slices(keys)
        .map(fetched, num_parallel_calls=tf.data.AUTOTUNE)
        .map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(_BATCH_SIZE)
        .prefetch(tf.data.AUTOTUNE)
    )


if __name__ == "__main__":
    main()
