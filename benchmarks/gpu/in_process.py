"""What the engine does with arrays in RAM, in a process of its own: `python -m … NAME FOLDER`.

Writes the model and its golden batch into the folder, and prints one line of JSON.
"""

import itertools
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.workloads import FULL, QUICK
from fornada.formats.rows import Rows
from model_store.engines.catalog import open_engine
from model_store.engines.interface import Predict
from worker.host.hardware import granted_cores

_THREADS = (1, 4)
GOLDEN_ITEMS = 32
_TRIAL_S = 2.0
#: The images that calls go round in: more than any cache holds.
_MOST_BYTES = 512 * 2**20


def main() -> None:
    """Measure one workload."""
    name, folder, quick = sys.argv[1], Path(sys.argv[2]), "--quick" in sys.argv
    os.environ["KERAS_BACKEND"] = "jax"
    workload = (QUICK if quick else FULL)[name]
    path = folder / f"{name}.keras"
    engine = open_engine(workload.engine, threads=granted_cores())
    if engine.call_bytes is None and not quick:
        sys.exit("JAX finds no GPU here; check with --quick")
    workload.write_model(path)
    taken, given = workload.tensors
    model = engine.load(path, where=name, takes=[taken], gives=[given], allowed_objects=())
    golden = workload.images(GOLDEN_ITEMS)
    np.save(folder / f"{name}-golden-inputs.npy", golden)
    np.save(folder / f"{name}-golden-outputs.npy", model.compile(GOLDEN_ITEMS)(Rows(golden)).only)
    item_bytes = golden[0].nbytes
    count = max(*workload.tiles, min(_MOST_BYTES // item_bytes, workload.image_count))
    images = workload.images(count)
    found = []
    for tile_items in workload.tiles:
        began_s = time.monotonic()
        predict = model.compile(tile_items)
        predict(Rows(images[:tile_items]))
        compile_s = time.monotonic() - began_s
        for threads in _THREADS:
            rate = _rate(predict, images, tile_items, threads, seconds=0.2 if quick else _TRIAL_S)
            found.append(
                {"tile": tile_items, "threads": threads, "rate": rate, "compile_s": compile_s}
            )
    print(json.dumps({"engine": engine.name, "found": found}))


def _rate(
    predict: Predict, images: NDArray[np.uint8], tile_items: int, threads: int, *, seconds: float
) -> float:
    """Images a second."""
    ends_s, firsts = time.monotonic() + seconds, itertools.count()
    tile_count = len(images) // tile_items
    done = [0] * threads

    def run(thread: int) -> None:
        while time.monotonic() < ends_s:
            first = next(firsts) % tile_count * tile_items
            predict(Rows(images[first : first + tile_items]))
            done[thread] += tile_items

    began_s = time.monotonic()
    running: list[Any] = [threading.Thread(target=run, args=(n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(done) / (time.monotonic() - began_s)


if __name__ == "__main__":
    main()
