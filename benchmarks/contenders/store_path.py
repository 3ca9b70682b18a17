"""The store path alone: get every input, put as many bytes as the results have, no model."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks import contract
from benchmarks.contract import BUCKET, Done, Harness, Task

_THREADS = 4
_CLASSES = 10


def main() -> None:
    """Serve the harness."""
    harness = Harness()
    get, put = _boto3() if sys.argv[1] == "boto3" else _fornada()

    def run(task: Task) -> Done:
        def copy(key: str) -> int:
            images = contract.from_npy(get(key))
            zeros = np.zeros((len(images), _CLASSES), np.float32)
            put(contract.output_key(task, key), contract.to_npy(zeros))
            return len(images)

        with ThreadPoolExecutor(_THREADS) as pool:
            items = sum(pool.map(copy, task.keys))
        return Done(items=items, finished_at=contract.now(), answers="none")

    harness.serve(run, packages=["boto3"], notes=f"{_THREADS} threads")


def _boto3() -> tuple[Callable[[str], bytes], Callable[[str, bytes], None]]:
    s3 = contract.s3_client()
    return (
        lambda key: contract.get_bytes(s3, key),
        lambda key, data: contract.put_bytes(s3, key, data),
    )


def _fornada() -> tuple[Callable[[str], bytes], Callable[[str, bytes], None]]:
    import os  # noqa: PLC0415 - beside the imports that only this variant has

    from fornada.settings import Settings  # noqa: PLC0415
    from fornada.storage.s3.store import S3ObjectStore  # noqa: PLC0415 - the other variant is boto3's

    settings = Settings.from_env(os.environ).model_copy(update={"s3_bucket": BUCKET})
    objects = S3ObjectStore.from_settings(settings)
    return lambda key: objects.get(key).data, objects.put


if __name__ == "__main__":
    main()
