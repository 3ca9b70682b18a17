"""What a caller submits: images, and how they are to become jobs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fornada.errors import UsageError
from fornada.formats.items import Array
from producer.inputs.blocks import ItemBlock
from producer.inputs.stored_images import StoredImages

#: Ten years; a calendar ends somewhere.
_MAX_DEADLINE_S = 10 * 365 * 24 * 3600.0

#: One array, a stream of them, or objects that are in the store already.
Images = Array | Iterable[Array] | Iterable[ItemBlock] | StoredImages


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What becomes one job; the fields are those arguments of `Client.submit`."""

    images: Images
    item_ids: Sequence[str] | None = None
    idempotency_key: str | None = None
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What submissions that are made together share; as the arguments of `Client.submit`."""

    model: str
    items_per_shard: int | None = None
    deadline_s: float | None = None

    def check(self) -> None:
        """Check what can be told without a store.

        Raises:
            UsageError: The deadline is not within the years to come.
        """
        given_s = self.deadline_s
        if given_s is not None and not 0 < given_s <= _MAX_DEADLINE_S:
            raise UsageError(
                f"deadline_s is {given_s:g}; give seconds from now, at most {_MAX_DEADLINE_S:g}"
            )
