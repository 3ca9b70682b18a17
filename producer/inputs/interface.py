"""What a caller can give, and what is read of it.

Arrays (`arrays`) give `ItemBlock`s, image files (`local_files`) give `ImageFile`s; both are cut
into shards and stored. What is in the store already (`stored_images`) is not copied.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from os import PathLike
from typing import Any, Protocol, Self

from fornada.errors import InputError, UsageError
from fornada.formats.rows import Rows
from fornada.logs import get_logger
from fornada.tensors import InputTensor, OutputTensor
from model_store.images import ImageOptions, all_with_images
from model_store.manifest import ModelManifest

log = get_logger(__name__)

_URL = re.compile(r"s3://(?P<bucket>[^/]+)(?:/(?P<prefix>.*))?", re.DOTALL)
#: More files are counted and not named.
_MOST_LISTED = 10
_LITTER = {"thumbs.db", "desktop.ini", "__macosx", "_success", "_metadata", "_common_metadata"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """What a model takes an item, and gives for it."""

    inputs: Sequence[InputTensor]
    outputs: Sequence[OutputTensor] = ()
    #: For error messages.
    model: str

    @classmethod
    def of(cls, model: ModelManifest, *, image: ImageOptions | None = None) -> "Signature":
        """The signature of a published model.

        Args:
            model: Its manifest.
            image: How images become items, in place of what the manifest says.

        Raises:
            UsageError: `image` is given, and does not fit an input.
        """
        inputs = model.inputs
        if image is not None:
            inputs = all_with_images(inputs, image, where=str(model))
        return cls(inputs=inputs, outputs=model.outputs, model=str(model))

    @property
    def names(self) -> str:
        """`2 inputs, 'photo', 'facts'`, or `one input, 'photo'`, for error messages."""
        listed = ", ".join(repr(tensor.name) for tensor in self.inputs)
        count = len(self.inputs)
        return f"one input, {listed}" if count == 1 else f"{count} inputs, {listed}"

    def only_input(self, *, where: str, remedy: str) -> InputTensor:
        """The only input.

        Raises:
            InputError: There are several, of which `where` can be only one.
        """
        if len(self.inputs) > 1:
            raise InputError(f"{where}, and {self.model} takes {self.names}; {remedy}")
        return self.inputs[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemBlock:
    """Items of the same shapes that were read together."""

    #: An array for each input, dtype as in the source.
    rows: Rows
    #: The caller's id of each item; `None` for running numbers.
    item_ids: list[str] | None
    #: Where they come from, for error messages.
    where: str
    #: Number of an item that could not be read -> why; its place in `rows` holds anything.
    errors: Mapping[int, str] = field(default_factory=dict)
    #: Inputs whose place in `rows` has image files, `bytes` [items], which workers decode.
    files: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFile:
    """An image file, which is one item; workers decode it."""

    #: For error messages; its suffix says which kind it is.
    name: str
    #: The file as it is.
    data: bytes
    #: The caller's id; `None` for a running number.
    item_id: str | None = None
    #: Why it could not be read.
    error: str | None = None


Block = ItemBlock | ImageFile


def listed(facts: Sequence[str], *, count: int | None = None) -> str:
    """The first facts, of `count` that there are, as text."""
    shown = facts[:_MOST_LISTED]
    more = (len(facts) if count is None else count) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more else [])])


@dataclass(kw_only=True, slots=True)
class LeftOut:
    """Files that are not items; known once the items have been read."""

    count: int = 0
    #: Why the first ones are left out, each with its path.
    reasons: list[str] = field(default_factory=list)

    def add(self, reason: str) -> None:
        """Count a file."""
        self.count += 1
        if len(self.reasons) < _MOST_LISTED:
            self.reasons.append(reason)

    def __str__(self) -> str:
        """`3 files: why the first one, why the second one, …`."""
        files = "1 file" if self.count == 1 else f"{self.count} files"
        return f"{files}: {listed(self.reasons, count=self.count)}"

    def clear(self) -> None:
        """Forget them, before the files are looked at again."""
        self.count = 0
        self.reasons.clear()

    def log(self) -> None:
        """Warn about them, if there are any."""
        if self.count:
            # In a script that configures no logging, Python writes the message without its fields.
            message = f"left out {self}"
            log.warning(message, count=self.count)

    def extend(self, others: "LeftOut") -> None:
        """Add those of another."""
        self.count += others.count
        self.reasons += others.reasons[: _MOST_LISTED - len(self.reasons)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which files of a folder, archive or prefix are meant, by their names or paths in it."""

    #: Shell patterns, one of which must fit; empty takes all files.
    include: Sequence[str] = ()
    #: Shell patterns, none of which may fit.
    exclude: Sequence[str] = ()

    def takes(self, path: str) -> bool:
        """Whether a file is meant; `path` is relative to what was named."""
        if any(map(is_litter, path.split("/"))):
            return False
        if not (self.include or self.exclude):
            return True
        names = (path, path.rpartition("/")[2])
        fits = not self.include or _any_fits(names, self.include)
        return fits and not _any_fits(names, self.exclude)

    def takes_archive(self, path: str) -> bool:
        """Whether files in an archive may be meant; `include` says which."""
        return replace(self, include=()).takes(path)

    def within(self, archive: str) -> "Selection":
        """Which files in an archive are meant: all of one that `include` names itself."""
        return replace(self, include=()) if self.takes(archive) else self


def _any_fits(names: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden, or is what Windows, macOS and Spark leave behind."""
    is_hidden = name.startswith(".") and name not in {".", ".."}
    return is_hidden or name.lower() in _LITTER


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalFiles:
    """Files, folders and globs on this machine: arrays, images, and archives of images."""

    paths: Sequence[str | PathLike[str]]
    selection: Selection = field(default_factory=Selection)
    left_out: LeftOut = field(default_factory=LeftOut, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredImages:
    """The objects of a bucket whose keys begin with a prefix; end it in `/` to mean a folder."""

    bucket: str
    prefix: str
    selection: Selection = field(default_factory=Selection)
    left_out: LeftOut = field(default_factory=LeftOut, compare=False)

    @classmethod
    def parse(cls, url: str, selection: Selection | None = None) -> Self:
        """Parse `s3://bucket/prefix`; without a prefix it means the whole bucket.

        Raises:
            UsageError: It is not such a URL.
        """
        match = _URL.fullmatch(url)
        if match is None:
            raise UsageError(f"{url!r} does not name stored objects; write s3://bucket/prefix")
        return cls(
            bucket=match["bucket"],
            prefix=match["prefix"] or "",
            selection=selection or Selection(),
        )

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".encode(errors="backslashreplace").decode()


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredUpload:
    """An upload as the inputs of a job of its owner; nothing is copied."""

    owner: str
    upload_id: str

    def __str__(self) -> str:
        return f"upload {self.upload_id}"


class SupportsArray(Protocol):
    """An array or tensor of any library."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


class SupportsDlpack(Protocol):
    """A tensor of any library."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...


class SupportsGetItem(Protocol):
    """A data set that is read by numbers."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


#: What a job can be of: an array or tensor, a data frame, an iterable of such, or files.
Inputs = (
    SupportsArray
    | SupportsDlpack
    | SupportsGetItem
    | Iterable[Any]
    | PathLike[str]
    | ItemBlock
    | ImageFile
    | LocalFiles
    | StoredImages
    | StoredUpload
)
