"""What a caller submits: images, and the options of the jobs they become."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from fornada.errors import UsageError
from fornada.jobs.manifest import MaxFailed
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


def _is_max_failed(value: object) -> bool:
    try:
        TypeAdapter(MaxFailed | None).validate_python(value, strict=True)
    except ValidationError:
        return False
    return not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the submissions of one call share; fields as the arguments of `Client.submit`."""

    model: str
    items_per_shard: int | None = None
    deadline_s: float | None = None
    max_failed: int | str | None = None
    strict: bool = False

    def check(self) -> None:
        """Check the deadline and `max_failed`.

        Raises:
            UsageError: The deadline is not within the next ten years, or `max_failed` is neither a
                count nor per cent.
        """
        if not _is_max_failed(self.max_failed):
            raise UsageError(
                f"max_failed is {self.max_failed!r}; give a count of items, or per cent of all: "
                "10 or '2.5%'"
            )
        given_s = self.deadline_s
        if given_s is not None and not 0 < given_s <= _MAX_DEADLINE_S:
            raise UsageError(
                f"deadline_s is {given_s:g}; give seconds from now, up to {_MAX_DEADLINE_S:g}"
            )
