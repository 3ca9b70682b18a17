"""Write photographs, their packs, their models, and what Keras says of them, into a folder.

A process of its own, for TensorFlow: `python -m benchmarks.photos.preparing FOLDER COUNT`.
"""

import io
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from benchmarks.measuring import prepare
from benchmarks.measuring.models import cnn
from benchmarks.photos import workloads
from benchmarks.photos.making import photo
from fornada.formats.rows import Rows
from model_store.engines import keras_file, keras_setup

_SEED = 1
_BATCH_SIZE = 32
#: Photographs that set the statistics of a network's normalization.
_STATISTICS_ITEMS = 64
#: Rows of a row group; one is read at a time.
_GROUP_ROWS = 50

Pixels = NDArray[np.float32]


def write(folder: Path, count: int) -> None:
    """Write what the workloads of `count` photographs need."""
    files = _write_photos(folder, count)
    _write_tars(folder, files)
    _write_tables(folder, files)
    keras = keras_setup.import_keras()
    for model, make in (("mobilenet", _mobilenet), ("thumbs", _thumbs)):
        keras.utils.set_random_seed(_SEED)
        _write_model(folder, model, make(keras), files)


def _write_photos(folder: Path, count: int) -> list[Path]:
    target = folder / "photos"
    target.mkdir(exist_ok=True)
    paths = [target / workloads.photo_name(number) for number in range(count)]
    with ProcessPoolExecutor() as pool:
        for path, data in zip(paths, pool.map(photo, range(count), chunksize=16), strict=True):
            path.write_bytes(data)
    return paths


def _packs(folder: Path, workload: str, files: list[Path]) -> Iterator[tuple[Path, list[Path]]]:
    """Each pack of a workload, with the photographs that go into it."""
    target = folder / workloads.folder_of(workload)
    target.mkdir(exist_ok=True)
    for at, name in enumerate(workloads.file_names(workload, len(files))):
        first = at * workloads.PACK_PHOTOS
        yield target / name, files[first : first + workloads.PACK_PHOTOS]


def _write_tars(folder: Path, files: list[Path]) -> None:
    for path, held in _packs(folder, "photos-tar", files):
        with tarfile.open(path, "w") as archive:
            for file in held:
                member = tarfile.TarInfo(file.name)
                member.size = file.stat().st_size
                archive.addfile(member, io.BytesIO(file.read_bytes()))


def _write_tables(folder: Path, files: list[Path]) -> None:
    for path, held in _packs(folder, "photos-parquet", files):
        columns = {"name": [f.name for f in held], "photo": [f.read_bytes() for f in held]}
        # A dictionary of photographs, all different, would only be a detour.
        parquet.write_table(
            pa.table(columns), path, row_group_size=_GROUP_ROWS, use_dictionary=["name"]
        )


def _write_model(folder: Path, name: str, model: Any, files: list[Path]) -> None:
    side = workloads.SIDES[name]
    pixels = np.stack([_as_data_set(path, side) for path in files[: workloads.ENGINE_ITEMS]])
    _normalized(model, pixels[:_STATISTICS_ITEMS])
    (folder / f"{name}.keras").write_bytes(keras_file.dump_model(model))
    np.save(folder / f"{name}.npy", pixels)
    for suffix, load in (("", _as_data_set), ("-load_img", _as_load_img)):
        reference = _reference(model, files, partial(load, side=side))
        np.save(folder / f"{name}-reference{suffix}.npy", reference)
    golden = pixels[: prepare.GOLDEN_ITEMS]
    prepare.write_verdict(folder, name, Rows(golden), model.predict(golden, verbose=0))


def _reference(
    model: Any, files: list[Path], load: Callable[[Path], Pixels]
) -> NDArray[np.float32]:
    """float32 [photographs, classes]: what `keras predict` gives for each."""
    parts = []
    for first in range(0, len(files), _BATCH_SIZE):
        batch = np.stack([load(path) for path in files[first : first + _BATCH_SIZE]])
        parts.append(model.predict_on_batch(batch))
    return np.concatenate(parts)


def _as_data_set(path: Path, side: int) -> Pixels:
    """The pixels as `image_dataset_from_directory` has them."""
    tf = keras_setup.import_tensorflow()
    decoded = tf.io.decode_image(path.read_bytes(), channels=3, expand_animations=False)
    pixels: Pixels = tf.image.resize(decoded, (side, side), method="bilinear").numpy()
    return pixels


def _as_load_img(path: Path, side: int) -> Pixels:
    """The pixels as `load_img(interpolation="bilinear")` has them."""
    keras = keras_setup.import_keras()
    loaded = keras.utils.load_img(path, target_size=(side, side), interpolation="bilinear")
    pixels: Pixels = keras.utils.img_to_array(loaded)
    return pixels


def _normalized(model: Any, pixels: Pixels) -> None:
    """Set the statistics of batch normalization, as training does.

    With initial ones the signal fades, and all photographs give the same.
    """
    for part in model.layers:
        for layer in getattr(part, "layers", ()):
            if hasattr(layer, "moving_mean"):
                layer.momentum = 0.0
    model(pixels, training=True)


def _mobilenet(keras: Any) -> Any:
    """MobileNetV2 from pixels of 0 to 255, untrained: the cost is the same."""
    side = workloads.SIDES["mobilenet"]
    network = keras.applications.MobileNetV2(
        input_shape=(side, side, 3), weights=None, classes=workloads.CLASS_COUNT
    )
    photo_in = keras.Input((side, side, 3), name="photo")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(photo_in)
    return keras.Model(photo_in, network(scaled), name="mobilenet")


def _thumbs(keras: Any) -> Any:
    """The network of `cnn`, for pixels as data sets have them."""
    return cnn(keras, input_name="photo", dtype="float32")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    write(Path(sys.argv[1]), int(sys.argv[2]))
