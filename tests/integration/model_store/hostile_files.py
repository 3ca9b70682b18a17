"""Small files that would take a machine, each with what has to become of it, and why."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model_store.engines import keras_file, keras_setup

Members = dict[str, bytes]
Config = dict[str, Any]

#: Says what became of a file that harms nobody.
PUBLISHED = "published"
_MEMORY = r"takes more than 4\.0 GiB of memory"
_TIME = "takes more than 40 s"
_CRASH = "the process that loads m.keras ends with SIG"
_HUGE = 6 * 10**8
_WEIGHTS = "model.weights.h5"


@dataclass(frozen=True, kw_only=True)
class HostileFile:
    """A file, and how publishing it ends."""

    #: From the members of a harmless file, of one Dense, to those of this one.
    change: Callable[[Members], Members]
    #: A regular expression: the refusal, or `PUBLISHED`.
    end: str


def layer(name: str, /, **config: Any) -> Config:
    """A layer's configuration."""
    return {
        "module": "keras.layers",
        "class_name": name,
        "config": config,
        "registered_name": None,
    }


def sequential(*layers: Config, shape: tuple[int, ...] = (8, 4), dtype: str = "float32") -> Config:
    """A Sequential of such layers."""
    all_layers = [layer("InputLayer", batch_shape=[None, *shape], dtype=dtype), *layers]
    for number, each in enumerate(all_layers):
        each["config"].setdefault("name", f"layer_{number}")
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "net", "layers": all_layers},
        "registered_name": None,
    }


def pooled(*layers: Config, shape: tuple[int, ...] = (8, 4)) -> Config:
    """A Sequential that gives one row of numbers an item."""
    return sequential(*layers, layer("GlobalAveragePooling1D"), shape=shape)


def harmless() -> Members:
    """The members of a harmless file of one Dense."""
    keras = keras_setup.import_keras()
    return _members(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))


def packed(members: Members) -> bytes:
    """The file of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _members(model: Any) -> Members:
    with zipfile.ZipFile(io.BytesIO(keras_file.dump_model(model))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _of(config: Config, end: str) -> HostileFile:
    data = json.dumps(config).encode()
    return HostileFile(change=lambda members: {**members, "config.json": data}, end=end)


def _of_model(build: Callable[[Any], Any], end: str) -> HostileFile:
    """`build` gets Keras, and returns a model that nothing has to be changed in."""
    return HostileFile(change=lambda _: _members(build(keras_setup.import_keras())), end=end)


def _squares_the_batch(keras: Any, *, width: int, activations: int) -> Any:
    """A number for each pair of numbers of all items of a call, added up to one."""
    items = keras.Input((width,))
    found = items + keras.ops.max(keras.ops.outer(items, items))
    for _ in range(activations):
        found = keras.layers.ReLU()(found)
    return keras.Model(items, keras.layers.Dense(2)(found))


def _with_weights(change: Callable[[Any], None]) -> Callable[[Members], Members]:
    """Changes the weights file, open as an `h5py.File`."""

    def changed(members: Members) -> Members:
        import h5py  # noqa: PLC0415 - heavy

        buffer = io.BytesIO(members[_WEIGHTS])
        with h5py.File(buffer, "r+") as file:
            change(file)
        return {**members, _WEIGHTS: buffer.getvalue()}

    return changed


def _unrolled(_: Members) -> Members:
    keras = keras_setup.import_keras()
    layers = keras.layers
    members = _members(
        keras.Sequential(
            [
                keras.Input((8, 1)),
                layers.UpSampling1D(2),
                layers.SimpleRNN(1, unroll=True, return_sequences=True),
                layers.GlobalAveragePooling1D(),
            ]
        )
    )
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["config"]["size"] = 2**14
    return {**members, "config.json": json.dumps(config).encode()}


def _many_objects(file: Any) -> None:
    for number in range(100_001):
        file.create_group(f"g{number}")


def _vocabulary(data: bytes) -> Callable[[Members], Members]:
    def changed(_: Members) -> Members:
        keras = keras_setup.import_keras()
        lookup = keras.layers.IntegerLookup(output_mode="multi_hot")
        lookup.adapt([1, 2])
        members = _members(keras.Sequential([keras.Input((2,), dtype="int64"), lookup]))
        return {
            name: data if name.endswith("vocabulary.txt") else member
            for name, member in members.items()
        }

    return changed


#: What says nothing of its size is refused for what it takes; all else before Keras makes anything.
HOSTILE: dict[str, HostileFile] = {
    # The outputs of these are small, and native code loops over each window, or crashes.
    "window of 2^17": _of(
        pooled(
            layer("UpSampling1D", size=2**15),
            layer("AveragePooling1D", pool_size=2**17, strides=1, padding="same"),
        ),
        f"{_TIME}|{_CRASH}",
    ),
    "window of 2^30": _of(
        pooled(layer("MaxPooling1D", pool_size=2**30, strides=1, padding="same")),
        f"{_TIME}|{_CRASH}",
    ),
    # More weights than the file has, whatever asks for them.
    "slopes of its build": _of(
        pooled({**layer("PReLU"), "build_config": {"input_shape": [None, 8, _HUGE]}}),
        "needs 4800000000 weights, and has only 10",
    ),
    "Fourier transform": _of(
        pooled(
            layer(
                "STFTSpectrogram",
                mode="log",
                frame_length=4,
                frame_step=1,
                fft_length=2**24,
                padding="same",
            ),
            shape=(8, 1),
        ),
        "needs 67108872 weights, and has only 10",
    ),
    "adapters": _of(
        pooled(layer("Dense", units=2, lora_rank=10**9)),
        "needs 6000000010 weights, and has only 10",
    ),
    # More numbers than an item may become.
    "mel bins": _of(
        sequential(
            layer("MelSpectrogram", num_mel_bins=10**9),
            layer("GlobalAveragePooling1D"),
            shape=(8,),
        ),
        "makes 1000000000 numbers of an item",
    ),
    "crop larger than the image": _of(
        sequential(
            layer("CenterCrop", height=10**5, width=10**5),
            layer("GlobalAveragePooling2D"),
            shape=(8, 8, 3),
        ),
        "makes 30000000000 numbers of an item",
    ),
    # Each layer makes as much as it may: many of them take long, or all memory at once.
    "large numbers 200 times": _of(
        pooled(layer("UpSampling1D", size=2**21), *[layer("ReLU") for _ in range(200)]),
        f"{_TIME}|{_MEMORY}",
    ),
    "slow resizing": _of(
        sequential(
            layer("Resizing", height=8000, width=8000, interpolation="lanczos5"),
            layer("GlobalAveragePooling2D"),
            shape=(8, 8, 3),
        ),
        f"{_TIME}|{_MEMORY}",
    ),
    # Traced step by step.
    "unrolled steps": HostileFile(change=_unrolled, end=_TIME),
    "a layer for each step": _of(
        pooled(
            layer("UpSampling1D", size=2**14),
            layer("TimeDistributed", layer=layer("ReLU", name="each")),
            shape=(8, 1),
        ),
        _TIME,
    ),
    # Shapes say nothing of these: they mix the items of a call, or flatten them.
    "the square of a batch": _of_model(
        lambda keras: _squares_the_batch(keras, width=2048, activations=31), _MEMORY
    ),
    "repeated numbers": _of_model(
        lambda keras: _added_up(keras, lambda items: keras.ops.repeat(items, 2**23)), _MEMORY
    ),
    # Harmless with the rows that were tried, of which there are few.
    "the square of a batch of a light model": _of_model(
        lambda keras: _squares_the_batch(keras, width=512, activations=0), PUBLISHED
    ),
    # Long, and read by nobody but Keras.
    "30 million lines": HostileFile(
        change=_vocabulary(b"1\n" * 3 * 10**7), end=f"cannot be loaded|{_TIME}|{_MEMORY}"
    ),
    "10 MB of lists": HostileFile(
        change=lambda members: {
            **members,
            "config.json": json.dumps(
                sequential(layer("Dense", units=2, kernel_constraint=[[]] * 2_400_000), shape=(4,))
            ).encode(),
        },
        end=f"cannot be loaded|{_TIME}",
    ),
    "100,001 groups": HostileFile(
        change=_with_weights(_many_objects), end="weights that repeat or do not end"
    ),
}


def _added_up(keras: Any, grow: Callable[[Any], Any]) -> Any:
    items = keras.Input((4,))
    return keras.Model(items, keras.layers.Dense(2)(items + keras.ops.max(grow(items))))
