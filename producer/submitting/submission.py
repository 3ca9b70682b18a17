"""What a caller submits: images, and the options of the jobs they become."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fornada.errors import UsageError
from producer.inputs.interface import Images

#: Ten years: a date has to represent it.
_MAX_DEADLINE_S = 10 * 365 * 24 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What becomes one job; fields as the arguments of `Client.submit`."""

    images: Images
    item_ids: Sequence[str] | None = None
    idempotency_key: str | None = None
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the submissions of one call share; fields as the arguments of `Client.submit`."""

    model: str
    items_per_shard: int | None = None
    deadline_s: float | None = None

    def check(self) -> None:
        """Check the deadline.

        Raises:
            UsageError: It is not within the next ten years.
        """
        given_s = self.deadline_s
        if given_s is not None and not 0 < given_s <= _MAX_DEADLINE_S:
            raise UsageError(
                f"deadline_s is {given_s:g}; give seconds from now, up to {_MAX_DEADLINE_S:g}"
            )
