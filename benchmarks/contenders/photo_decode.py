"""What photographs take alone: decoding on all cores, with Fornada's decoder, from local files."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks import contract
from benchmarks.contract import Done, Harness, Task
from benchmarks.photos.tensors import tensors_of
from benchmarks.photos.workloads import MODELS
from fornada.formats.images import decode_item

#: Photographs that a process takes at a time.
_CHUNK = 8


def main() -> None:
    """Serve the harness."""
    harness = Harness()
    # Processes, so that no lock of Python's is part of the limit.
    with ProcessPoolExecutor(
        harness.cores, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        # They start with the first task.
        list(pool.map(abs, range(harness.cores)))

        def run(task: Task) -> Done:
            paths = [harness.folder / "photos" / Path(key).name for key in task.keys]
            decode = partial(_decode, model=MODELS[task.workload])
            items = sum(pool.map(decode, paths, chunksize=_CHUNK))
            return Done(items=items, finished_at=contract.now(), answers="none")

        harness.serve(
            run,
            packages=["simplejpeg", "pillow"],
            notes="decode_item in a process a core: simplejpeg (libjpeg-turbo) for JPEG",
        )


def _decode(path: Path, *, model: str) -> int:
    taken, _ = tensors_of(model)
    decode_item(path.read_bytes(), taken=taken, where=path.name)
    return 1


if __name__ == "__main__":
    main()
