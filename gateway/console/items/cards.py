"""Cards: an item's picture or values, beside what the model gave for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from fornada.errors import InputError, MissingExtraError
from fornada.formats.items import Array
from fornada.jobs.manifest import JobManifest
from fornada.parallel import in_parallel
from fornada.tensors import InputTensor
from gateway.console.items.outputs import Given, given_of
from gateway.console.items.overlays import drawn
from gateway.console.items.pictures import Pictures, image_of, of_array
from gateway.console.items.reading import GivenItem, Place, place_of, read_item
from gateway.console.items.shard_results import ShardResults
from gateway.console.job_access import JobAccess, View
from producer.item_results import ShardResult

_FEW_VALUES = 6
_MOST_VALUES = 256
_MOST_CHARACTERS = 20_000
_FEW_CHARACTERS = 160


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """An item as pages show it."""

    item: int
    item_id: str
    shard: int
    #: Whether it has a picture.
    pictured: bool
    #: What the model was given, where that is no picture: numbers and texts by name.
    values: list[tuple[str, Any]] = field(default_factory=list)
    more_values: int = 0
    #: What it gave, an output each; empty if the item failed or waits.
    given: list[Given] = field(default_factory=list)
    #: Why it has no result.
    reason: str | None = None


class Cards:
    """Makes cards and pictures of a job's items. Safe to share between threads."""

    def __init__(self, *, jobs: JobAccess) -> None:
        self.results = ShardResults(jobs=jobs.store)
        self._jobs = jobs.store
        self.pictures = Pictures()

    def some(self, view: View, items: Sequence[int]) -> list[Card]:
        """Cards of some items, with the likeliest classes and the first values.

        Raises:
            UsageError: The job has no such item.
            StoreError: The store cannot be reached.
        """
        return list(in_parallel(lambda item: self.one(view, item, few=True), items))

    def one(self, view: View, item: int, *, few: bool = False) -> Card:
        """The card of an item.

        Raises:
            UsageError, StoreError: As `some`.
        """
        manifest, place = view.manifest, place_of(view, item)
        result = self.results.of(view, place.shard)
        pictured = pictured_input(manifest) is not None
        only_picture = pictured and len(manifest.takes) == 1
        read = GivenItem() if only_picture else read_item(manifest, place, jobs=self._jobs)
        values, more = _values(manifest, read, few=few)
        given, reason, item_id = self._given(view, place, result, few=few)
        return Card(
            item=item,
            item_id=item_id or str(item),
            shard=place.shard,
            pictured=pictured,
            values=values,
            more_values=more,
            given=given,
            reason=reason,
        )

    def picture(
        self, view: View, item: int, *, longest: int, draw: str | None = None
    ) -> Image.Image:
        """An item's picture, with an output drawn on it if `draw` names one.

        Raises:
            InputError: It has none; says why.
            UsageError, StoreError: As `some`.
        """
        manifest, place = view.manifest, place_of(view, item)
        taken = pictured_input(manifest)
        if taken is None:
            raise InputError(f"the items of job {manifest.job_id} are no pictures")
        read = read_item(manifest, place, jobs=self._jobs)
        try:
            picture = self._picture(read, taken, longest)
        except (MissingExtraError, ValueError) as exc:
            raise InputError(str(exc)) from exc
        if draw is None:
            return picture
        result = self.results.of(view, place.shard)
        row = None if result is None else result.outputs.get(draw)
        if result is None or row is None or place.position in result.errors:
            return picture
        size = _size(read, taken, picture)
        how = given_of(result[draw].output, row[place.position], picture=size).drawn
        return drawn(picture, row[place.position], how, size=size)

    def _picture(self, read: GivenItem, taken: InputTensor, longest: int) -> Image.Image:
        if read.file is not None:
            return self.pictures.of_file(read.file, longest=longest)
        if taken.name in read.arrays:
            return of_array(read.arrays[taken.name], longest=longest)
        raise InputError(read.why_missing or "it is gone")

    def _given(
        self, view: View, place: Place, result: ShardResult | None, *, few: bool
    ) -> tuple[list[Given], str | None, str]:
        if result is None:
            why = None if view.final is None else f"the job ended {view.final.state} before it"
            return [], why, ""
        item_id = result.item_ids[place.position]
        reason = result.errors.get(place.position)
        if reason is not None:
            return [], reason, item_id
        taken = pictured_input(view.manifest)
        given = []
        for output in result.gives:
            row: Array = result.outputs[output.name][place.position]
            size = None if taken is None else _taken_size(taken) or row.shape[:2]
            given.append(given_of(output, row, picture=_pair(size), few=few))
        return given, None, item_id


def pictured_input(manifest: JobManifest) -> InputTensor | None:
    """The input whose items are pictures, if there is one."""
    return next((taken for taken in manifest.takes if image_of(taken) is not None), None)


def _taken_size(taken: InputTensor) -> tuple[int, int] | None:
    return None if taken.is_open else _pair(taken.fixed_shape[:2])


def _pair(sides: Sequence[int] | None) -> tuple[int, int] | None:
    match sides:
        case (height, width):
            return height, width
    return None


def _size(read: GivenItem, taken: InputTensor, picture: Image.Image) -> tuple[int, int]:
    """Height and width of an item as the model took it."""
    if taken.name in read.arrays:
        height, width = read.arrays[taken.name].shape[:2]
        return height, width
    return _taken_size(taken) or (picture.height, picture.width)


def _values(
    manifest: JobManifest, read: GivenItem, *, few: bool
) -> tuple[list[tuple[str, Any]], int]:
    """An item's numbers and texts by name, those of pictures left out."""
    found: list[tuple[str, Any]] = []
    for taken in manifest.takes:
        array = read.arrays.get(taken.name)
        if array is None or image_of(taken) is not None:
            continue
        columns = manifest.table.columns.get(taken.name, []) if manifest.table else []
        flat = array.ravel()[:_MOST_VALUES].tolist()
        if len(columns) == array.size:
            names = columns
        elif array.size == 1:
            names = [taken.name]
        else:
            names = [f"{taken.name}[{n}]" for n in range(len(flat))]
        found += zip(names, (_shown(value, few=few) for value in flat), strict=False)
    most = _FEW_VALUES if few else _MOST_VALUES
    return found[:most], max(0, len(found) - most)


def _shown(value: Any, *, few: bool) -> Any:
    if isinstance(value, bytes):
        text = value.decode(errors="backslashreplace")
        most = _FEW_CHARACTERS if few else _MOST_CHARACTERS
        return text if len(text) <= most else f"{text[:most]}…"
    return value
