"""The workloads of photographs: their models, and their objects in the store."""

from collections.abc import Sequence

#: Models by workload: MobileNetV2, and the small network of `cnn`.
MODELS = {
    "photos": "mobilenet",
    "photos-tar": "mobilenet",
    "photos-parquet": "mobilenet",
    "photos-cnn": "thumbs",
}
#: Of workloads with the same photographs: the one whose decoding and computing are measured alone.
ALONE = {"photos-tar": "photos", "photos-parquet": "photos"}
#: The side of the square that a model takes, in pixels.
SIDES = {"mobilenet": 224, "thumbs": 32}
CLASS_COUNT = 10
#: Pixels in RAM, for what computes alone.
ENGINE_ITEMS = 128
#: In an archive or a table.
PACK_PHOTOS = 250
_SUFFIXES = {"photos-tar": "tar", "photos-parquet": "parquet"}


def photo_name(number: int) -> str:
    """The file name of a photograph."""
    # The few PNG files among them are told by their bytes.
    return f"{number:05d}.jpg"


def folder_of(workload: str) -> str:
    """The folder of a workload's files, below the data and below `inputs/` in the store."""
    return workload if workload in _SUFFIXES else "photos"


def file_names(workload: str, photo_count: int) -> list[str]:
    """The names of a workload's files, in order."""
    suffix = _SUFFIXES.get(workload)
    if suffix is None:
        return [photo_name(number) for number in range(photo_count)]
    return [f"{number:03d}.{suffix}" for number in range(-(-photo_count // PACK_PHOTOS))]


def input_keys(workload: str, photo_count: int) -> list[str]:
    """The keys of a workload's objects, in order."""
    folder = f"inputs/{folder_of(workload)}"
    return [f"{folder}/{name}" for name in file_names(workload, photo_count)]


def photos_in(workload: str, keys: Sequence[str], photo_count: int) -> int:
    """How many photographs the first objects of a workload hold."""
    return min(photo_count, len(keys) * (PACK_PHOTOS if workload in _SUFFIXES else 1))
