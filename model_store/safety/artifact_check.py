"""Refuse a `.keras` file that holds anything but weights, vocabularies and known objects.

Keras's `safe_mode` is not a sandbox: a configuration may name any importable function, weights may
link to files of the host, and a few bytes may unpack to terabytes. So the file is first read here,
without Keras, against allow lists; anything not listed is refused.

How much memory the layers take when built is checked afterwards (`engines.artifact.building`).
"""

import errno
import importlib
import io
import json
import math
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fornada.errors import MissingExtraError, ModelRefusedError, error_line
from fornada.storage.interface import Content, content_size_bytes
from model_store.safety.config_check import check_config, refusal
from model_store.safety.size_check import check_sizes
from model_store.scratch import scratch_folder

MAX_ARTIFACT_BYTES = 2 * 1024**3
MAX_UNPACKED_BYTES = 4 * 1024**3
MAX_CONFIG_BYTES = 10 * 1024**2
MAX_VOCABULARY_BYTES = 256 * 1024**2
#: Keras stores members uncompressed; one that expands further, and past the floor, is a bomb.
MAX_EXPANSION = 20
_EXPANSION_FLOOR_BYTES = 16 * 1024**2
#: Three, and a vocabulary of each layer that has one. Removing 100,000 files took minutes.
_MAX_MEMBERS = 1000
_MAX_DIRECTORY_BYTES = 2**20
_MAX_WEIGHT_OBJECTS = 100_000
_MAX_WEIGHT_DEPTH = 64

#: The member with the configuration.
CONFIG = "config.json"
#: The member with the weights.
WEIGHTS = "model.weights.h5"
_VOCABULARY = "vocabulary.txt"
_MEMBERS = {"metadata.json", CONFIG, WEIGHTS}
#: What zipfile raises on damaged, encrypted or truncated files.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)
#: What a folder answers to names that no file system takes.
_BAD_NAMES = {errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOTDIR}
_PIECE_BYTES = 1024 * 1024
#: The end of an archive, at most this far before its last byte; in zip64 a locator is before it.
_END, _END_BYTES, _LONGEST_END_BYTES = b"PK\5\6", 22, 22 + 65_535
_LOCATOR, _LOCATOR_BYTES = b"PK\6\7", 20
#: deflate, shuffle, fletcher32, built into HDF5. Others are loaded from shared libraries.
_HDF5_FILTERS = {1, 2, 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedArtifact:
    """What a check found in a `.keras` file that is safe to load."""

    #: Its members.
    folder: Path
    config: Any
    #: The allowed objects that it uses: `module:Name` by the name under which Keras looks them up.
    used_objects: Mapping[str, str]
    #: The numbers in its weights.
    element_count: int
    has_vocabularies: bool


def check_artifact(artifact: Content, *, where: str, allowed_objects: Collection[str] = ()) -> None:
    """Check a `.keras` file; see `unpacked`.

    Raises:
        ModelRefusedError, MissingExtraError, LocalDiskError: As `unpacked`.
    """
    with unpacked(artifact, where=where, allowed_objects=allowed_objects):
        pass


def open_archive(artifact: Content) -> zipfile.ZipFile:
    """The archive of a `.keras` file, to read; it may be unsafe."""
    return zipfile.ZipFile(io.BytesIO(artifact) if isinstance(artifact, bytes) else artifact)


@contextmanager
def checked_archive(artifact: Content, *, where: str) -> Iterator[zipfile.ZipFile]:
    """The archive of a `.keras` file, whose members have the names and sizes of one.

    Raises:
        ModelRefusedError: They have not.
    """
    size_bytes = content_size_bytes(artifact)
    if size_bytes > MAX_ARTIFACT_BYTES:
        raise refusal(where, f"has {size_bytes} bytes, more than {MAX_ARTIFACT_BYTES}")
    with _readable(where):
        _check_directory(artifact, where)
        archive = open_archive(artifact)
    with archive:
        _check_members(archive, where, size_bytes=size_bytes)
        yield archive


@contextmanager
def unpacked(
    artifact: Content,
    *,
    where: str,
    allowed_objects: Collection[str] = (),
    known_functions: Collection[str] = (),
) -> Iterator[CheckedArtifact]:
    """Check a `.keras` file before Keras sees it; its members are in a folder during the block.

    Args:
        artifact: The file, or its bytes.
        where: What it was read from, for messages.
        allowed_objects: Code that the operator trusts, as `Trust.allowed_objects`.
        known_functions: Names under which Keras saves functions that the caller supplies.

    Raises:
        ModelRefusedError: It holds something that is not allowed; says what.
        MissingExtraError: h5py, which comes with Keras, is not installed.
        LocalDiskError: The temporary folder is full or not writable.
    """
    with scratch_folder() as folder:
        with checked_archive(artifact, where=where) as archive:
            with _readable(where):
                config = archive.read(CONFIG)
                _check_vocabularies(archive, where)
            used = check_config(
                config,
                where=where,
                allowed_objects=allowed_objects,
                known_functions=known_functions,
            )
            _unpack(archive, folder, where)
            members = archive.namelist()
        element_count = _check_weights(folder / WEIGHTS, where)
        check_sizes(config, where=where, element_count=element_count)
        yield CheckedArtifact(
            folder=folder,
            config=json.loads(config),
            used_objects=used,
            element_count=element_count,
            has_vocabularies=any(map(_is_vocabulary, members)),
        )


def _check_directory(artifact: Content, where: str) -> None:
    """Check how long the list of members is, all of which zipfile reads and keeps."""
    file = io.BytesIO(artifact) if isinstance(artifact, bytes) else artifact.open("rb")
    with file:
        file.seek(-min(_LONGEST_END_BYTES, file.seek(0, io.SEEK_END)), io.SEEK_END)
        tail = file.read()
    # As zipfile looks for it: without a comment first.
    at = len(tail) - _END_BYTES
    if not (tail[at:].startswith(_END) and tail.endswith(b"\0\0")):
        at = tail.rfind(_END)
    if at < 0:
        # zipfile says what is wrong.
        return
    if tail[max(0, at - _LOCATOR_BYTES) :].startswith(_LOCATOR):
        raise refusal(where, "is a zip64 archive, as only larger ones have to be")
    size_bytes = int.from_bytes(tail[at + 12 : at + 16], "little")
    if size_bytes > _MAX_DIRECTORY_BYTES:
        raise refusal(
            where, f"lists its members in {size_bytes} bytes, over {_MAX_DIRECTORY_BYTES}"
        )


@contextmanager
def _readable(where: str) -> Iterator[None]:
    try:
        yield
    except ModelRefusedError:
        raise
    except UNREADABLE as exc:
        raise refusal(where, f"is not a readable .keras (zip) file: {error_line(exc)}") from exc


def _unpack(archive: zipfile.ZipFile, folder: Path, where: str) -> None:
    for info in archive.infolist():
        path = folder / info.filename
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for piece in _pieces(archive, info, where):
                    file.write(piece)
        except OSError as exc:
            if exc.errno in _BAD_NAMES:
                raise refusal(where, f"holds {info.filename[:200]!r}, which is not a name") from exc
            raise


def _pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> Iterator[bytes]:
    with _readable(where), archive.open(info) as member:
        while piece := member.read(_PIECE_BYTES):
            yield piece


def _check_members(archive: zipfile.ZipFile, where: str, *, size_bytes: int) -> None:
    members = archive.infolist()
    if len(members) > _MAX_MEMBERS:
        raise refusal(where, f"holds {len(members)} members, over {_MAX_MEMBERS}")
    names = [info.filename for info in members]
    for name in names:
        if name not in _MEMBERS and not _is_vocabulary(name):
            raise refusal(
                where,
                f"holds {name[:200]!r}, and may hold only {sorted(_MEMBERS)} and the vocabularies "
                "of layers (assets/…/vocabulary.txt)",
            )
    if len(set(names)) != len(names):
        raise refusal(where, f"holds a member twice: {sorted(names)}")
    for name in (CONFIG, WEIGHTS):
        if name not in names:
            raise refusal(where, f"has no {name}")
    for info in members:
        _check_member(info, where)
    unpacked_bytes = sum(info.file_size for info in members)
    # Members may overlap in the archive, each within its own limit.
    most_bytes = min(MAX_UNPACKED_BYTES, max(_EXPANSION_FLOOR_BYTES, MAX_EXPANSION * size_bytes))
    if unpacked_bytes > most_bytes:
        raise refusal(where, f"unpacks to {unpacked_bytes} bytes, over {most_bytes}")


def _check_member(info: zipfile.ZipInfo, where: str) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        raise refusal(where, f"holds {info.filename} as something other than a plain file")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise refusal(where, f"packs {info.filename} with method {info.compress_type}")
    most_bytes = MAX_VOCABULARY_BYTES if _is_vocabulary(info.filename) else MAX_CONFIG_BYTES
    if info.filename != WEIGHTS and info.file_size > most_bytes:
        raise refusal(where, f"has a {info.filename} of {info.file_size} bytes, over {most_bytes}")
    limit_bytes = max(_EXPANSION_FLOOR_BYTES, MAX_EXPANSION * info.compress_size)
    if info.file_size > limit_bytes:
        raise refusal(
            where,
            f"unpacks {info.filename} from {info.compress_size} to {info.file_size} bytes, over "
            f"{MAX_EXPANSION} times",
        )


def _is_vocabulary(name: str) -> bool:
    """Whether a member is named as Keras names the vocabulary of a layer: no way leads outside."""
    folder, *layers, file = name.split("/") if "/" in name else ("", name)
    return (
        (folder, file) == ("assets", _VOCABULARY)
        and 0 < len(layers) <= _MAX_WEIGHT_DEPTH
        and all(layer.strip(". ") and layer.isprintable() for layer in layers)
        and not {"\\", ":"} & set(name)
    )


def _check_vocabularies(archive: zipfile.ZipFile, where: str) -> None:
    for info in archive.infolist():
        if _is_vocabulary(info.filename):
            try:
                archive.read(info).decode("utf-8")
            except UnicodeDecodeError as exc:
                raise refusal(where, f"has a {info.filename} that is not UTF-8") from exc


def _check_weights(path: Path, where: str) -> int:
    """Check the weights; return the count of their numbers."""
    try:
        # Comes with Keras; listing models needs neither.
        h5py: Any = importlib.import_module("h5py")
    except ImportError as exc:
        raise MissingExtraError(
            "loading a model needs h5py; run: pip install 'fornada[worker]'"
        ) from exc
    try:
        with h5py.File(path, "r") as file:
            declared_bytes, element_count = _check_group(h5py, file, where)
    except ModelRefusedError:
        raise
    except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as exc:
        raise refusal(where, f"has {WEIGHTS} that HDF5 cannot read: {error_line(exc)}") from exc
    size_bytes = path.stat().st_size
    limit_bytes = max(_EXPANSION_FLOOR_BYTES, MAX_EXPANSION * size_bytes)
    if declared_bytes > limit_bytes:
        raise refusal(
            where,
            f"declares {declared_bytes} bytes of weights in {size_bytes} bytes of {WEIGHTS}, over "
            f"{MAX_EXPANSION} times",
        )
    return element_count


def _check_group(h5py: Any, file: Any, where: str) -> tuple[int, int]:
    """Check every object in `file`; return the total bytes and numbers that datasets declare."""
    declared_bytes = element_count = 0
    seen = {h5py.h5o.get_info(file.id).addr}
    pending = [(file, 0)]
    while pending:
        group, depth = pending.pop()
        for name in group:
            where_in = f"{group.name.rstrip('/')}/{name}"[:200]
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise refusal(where, f"has a link to elsewhere in its weights: {where_in}")
            child = group[name]
            address = h5py.h5o.get_info(child.id).addr
            if address in seen or len(seen) > _MAX_WEIGHT_OBJECTS or depth > _MAX_WEIGHT_DEPTH:
                raise refusal(where, f"has weights that repeat or do not end, at {where_in}")
            seen.add(address)
            if isinstance(child, h5py.Group):
                pending.append((child, depth + 1))
            elif isinstance(child, h5py.Dataset):
                _check_dataset(child, where, where_in)
                size = math.prod(child.shape or ())
                element_count += size
                # A chunk is unpacked whole, however few of its numbers are wanted.
                unpacked_size = max(size, math.prod(child.chunks or ()))
                declared_bytes += unpacked_size * int(child.dtype.itemsize)
            else:
                raise refusal(where, f"has neither group nor dataset in its weights: {where_in}")
    return declared_bytes, element_count


def _check_dataset(dataset: Any, where: str, where_in: str) -> None:
    if dataset.external or dataset.is_virtual:
        raise refusal(where, f"keeps weights in another file: {where_in}")
    # HDF5 holds bfloat16 as kind V without columns.
    if dataset.dtype.kind not in "fiubV" or dataset.dtype.names or dataset.dtype.hasobject:
        raise refusal(where, f"has weights of dtype {dataset.dtype}: {where_in}")
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(index)[0] for index in range(creation.get_nfilters())]
    if not set(filters) <= _HDF5_FILTERS:
        raise refusal(where, f"packs weights with a foreign filter: {where_in}")
    if len(set(filters)) != len(filters):
        # Each time may unpack to a thousand times the bytes, of which nothing says how many.
        raise refusal(where, f"packs weights more than once: {where_in}")
