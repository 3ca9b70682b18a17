"""Make models, items and what `keras predict` says of them; a process of its own, for TensorFlow.

`python -m benchmarks.measuring.prepare FOLDER MODEL=ITEMS …`
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring.models import MODELS, Model, tensors_of
from benchmarks.workloads import Sizes
from fornada.formats.rows import Rows
from model_store.engines import keras_file, keras_setup
from model_store.golden_batch import write_golden
from model_store.wall.limits import WallLimits
from model_store.wall.messages import Check
from model_store.wall.process import WallProcess

_ROOT = Path(__file__).parents[2]
#: At most.
GOLDEN_ITEMS = 32
#: Of calls of `keras predict`: what layers give takes many times as much.
_MOST_BATCH_SIZE, _BATCH_BYTES = 4096, 2**24


def prepared(sizes: Sizes, *, cache: Path) -> Path:
    """A folder with models, items and references for these sizes; created once."""
    counts = {model: count for model in MODELS if (count := sizes.items_of_model(model))}
    parts = {**counts, "photos": sizes.photos}
    name = "-".join(f"{part}{count}" for part, count in parts.items())
    folder = cache / "prepared" / name
    if not (folder / "checked").exists():
        print("creating models, items and the outputs of keras predict", flush=True)
        arguments = [f"{model}={count}" for model, count in counts.items()]
        _run("benchmarks.measuring.prepare", str(folder), *arguments)
        if sizes.photos:
            _run("benchmarks.photos.preparing", str(folder), str(sizes.photos))
        (folder / "checked").touch()
    return folder


def _run(module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", module, *arguments]
    subprocess.run(command, check=True, cwd=_ROOT, stdout=subprocess.DEVNULL)


def main() -> None:
    """Write a model, its items, the reference, and what the wall found, for each model."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for argument in sys.argv[2:]:
        name, _, count = argument.partition("=")
        _write(folder, name, MODELS[name], int(count))


def _write(folder: Path, name: str, model: Model, count: int) -> None:
    network = model.make(keras_setup.import_keras())
    rows = model.items(count)
    normalize(network, rows[:GOLDEN_ITEMS])
    (folder / f"{name}.keras").write_bytes(keras_file.dump_model(network))
    write_items(folder, name, rows)
    reference = _predicted(network, model, rows)
    np.save(folder / f"{name}-reference.npy", reference)
    write_verdict(folder, name, rows, reference)


def normalize(network: Any, rows: Rows) -> None:
    """Give batch normalization the statistics of these rows, as training does.

    With initial ones the signal fades, and all items give the same.
    """
    normalizing = [layer for layer in network.layers if hasattr(layer, "moving_mean")]
    for layer in normalizing:
        layer.momentum = 0.0
    if normalizing:
        network(list(rows.arrays), training=True)


def write_items(folder: Path, name: str, rows: Rows) -> None:
    """The items of a model as contenders find them: an array, or one a column."""
    model = MODELS[name]
    if len(rows.arrays) > 1:
        np.savez(folder / f"{name}.npz", **_by_name(model, rows))
    else:
        np.save(folder / f"{name}.npy", rows.only)


def _by_name(model: Model, rows: Rows) -> dict[str, Any]:
    return {tensor.name: a for tensor, a in zip(model.inputs, rows.arrays, strict=True)}


def _predicted(network: Any, model: Model, rows: Rows) -> Any:
    item_bytes = rows.size_bytes // len(rows)
    batch_size = max(1, min(_MOST_BATCH_SIZE, _BATCH_BYTES // item_bytes))
    taken = _by_name(model, rows) if len(rows.arrays) > 1 else rows.only
    return network.predict(taken, batch_size, verbose=0)


def write_verdict(folder: Path, name: str, rows: Rows, reference: Any) -> None:
    """Write a golden batch, and what every publisher asks, and so every deployment has."""
    artifact = folder / f"{name}.keras"
    takes, gives = tensors_of(name)
    golden = folder / f"{name}-golden-inputs", folder / f"{name}-golden-outputs"
    write_golden(golden[0], rows[:GOLDEN_ITEMS], takes)
    write_golden(golden[1], Rows(reference[:GOLDEN_ITEMS]), gives)
    with WallProcess(WallLimits.of_artifact(artifact.stat().st_size)) as wall:
        passed = wall.check(
            Check(
                artifact=str(artifact.absolute()),
                where=name,
                allowed_objects=[],
                engine="keras",
                inputs=takes,
                outputs=gives,
                golden_inputs=str(golden[0].absolute()),
                golden_outputs=str(golden[1].absolute()),
            )
        )
    (folder / f"{name}-passed.json").write_bytes(passed.to_json())


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
