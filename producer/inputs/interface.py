"""What a caller can give, and what is read of it.

Arrays (`arrays`) and local files (`paths`) give `ItemBlock`s, which are cut into shards and stored.
Objects that are in the store already (`stored_images`) become shards without being copied.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from fornada.errors import UsageError
from fornada.formats.items import Array
from model_store.manifest import ModelManifest

_URL = re.compile(r"s3://(?P<bucket>[^/]+)(?:/(?P<prefix>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """The items that a model takes."""

    item_shape: Sequence[int]
    item_dtype: str
    #: For error messages.
    model: str

    @classmethod
    def of(cls, model: ModelManifest) -> "Signature":
        """The signature of a published model."""
        return cls(item_shape=model.item_shape, item_dtype=model.item_dtype, model=str(model))


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemBlock:
    """Items that were read together."""

    #: [items, *item_shape], dtype as in the source.
    images: Array
    #: The caller's id of each item; `None` for running numbers.
    item_ids: list[str] | None
    #: Where they come from, for error messages.
    where: str
    #: Number of an item that could not be read -> why; its place in `images` holds anything.
    errors: Mapping[int, str] = field(default_factory=dict)


def is_litter(name: str) -> bool:
    """Whether a file of this name is hidden, or one that Windows leaves in folders."""
    return name.startswith(".") or name.lower() in {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredImages:
    """The objects of a bucket whose keys begin with a prefix; end it in `/` to mean a folder."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse `s3://bucket/prefix`; without a prefix it means the whole bucket.

        Raises:
            UsageError: It is no such URL.
        """
        match = _URL.fullmatch(url)
        if match is None:
            raise UsageError(f"{url!r} does not name stored objects; write s3://bucket/prefix")
        return cls(bucket=match["bucket"], prefix=match["prefix"] or "")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


#: One array, a stream of arrays, or objects that are in the store already.
Images = Array | Iterable[Array] | Iterable[ItemBlock] | StoredImages
