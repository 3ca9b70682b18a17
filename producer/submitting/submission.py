"""What a caller submits: items, and the options of the jobs they become."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from fornada.errors import UsageError
from fornada.jobs.manifest import MaxFailed
from fornada.trust.input_prefixes import InputPrefixes
from model_store.images import ImageOptions
from producer.inputs.interface import Inputs
from producer.inputs.tables.interface import Columns, TableOptions
from producer.options import check_flag, check_text, is_number, is_whole_number

#: One id an item: text, whole numbers, paths or UUIDs in a list, an array or a column.
ItemIds = Iterable[object]

#: Ten years: a date has to represent it.
_MAX_DEADLINE_S = 10 * 365 * 24 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What becomes one job; fields as the arguments of `Client.submit`."""

    inputs: Inputs
    item_ids: ItemIds | None = None
    idempotency_key: str | None = None
    tags: Mapping[str, str] | None = None

    def check(self) -> None:
        """Check the options.

        Raises:
            UsageError: The key or the tags are not text.
        """
        if self.idempotency_key is not None:
            check_text(self.idempotency_key, "idempotency_key")
        if self.tags is None:
            return
        if not isinstance(self.tags, Mapping):
            raise UsageError(f"tags is {self.tags!r}; give a dict of text, {{'team': 'vision'}}")
        for key, value in self.tags.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise UsageError(f"tags has {key!r}: {value!r}; give text for both")


def _is_max_failed(value: object) -> bool:
    try:
        TypeAdapter(MaxFailed | None).validate_python(value, strict=True)
    except ValidationError:
        return False
    return not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the submissions of one call share; the first fields as those of `Client.submit`."""

    model: str
    items_per_shard: int | None = None
    deadline_s: float | None = None
    max_failed: int | str | None = None
    strict: bool = False
    #: How images become items, in place of what the model's manifest says.
    image: ImageOptions | None = None
    #: Input -> the column of a table, a data frame or a row that it is.
    columns: Mapping[str, Columns] | None = None
    id_column: str | None = None
    #: Whose the job is, for a door that serves several callers.
    owner: str | None = None
    #: Where a gateway tells of the job's end.
    webhook: str | None = None
    #: Where stored inputs may be, if that is less than the deployment allows.
    prefixes: InputPrefixes | None = None
    #: Called with the number of items of a new job before the job exists; raises to refuse it.
    admit: Callable[[int], None] | None = None

    def check(self) -> None:
        """Check the options.

        Raises:
            UsageError: One is of another type, or makes no sense.
        """
        check_text(self.model, "model")
        count = self.items_per_shard
        if count is not None and not (is_whole_number(count) and count >= 1):
            raise UsageError(f"items_per_shard is {count!r}; give a whole number, at least 1")
        if isinstance(self.image, Mapping) and "size" in self.image:
            raise UsageError(
                "image has a size, and a job keeps that of its model; publish it with that size"
            )
        if not _is_max_failed(self.max_failed):
            raise UsageError(
                f"max_failed is {self.max_failed!r}; give a count of items, or per cent of all: "
                "10 or '2.5%'"
            )
        check_flag(self.strict, "strict")
        if self.id_column is not None:
            check_text(self.id_column, "id_column")
        self.table.check()
        given_s = self.deadline_s
        if given_s is not None and not (is_number(given_s) and 0 < given_s <= _MAX_DEADLINE_S):
            raise UsageError(
                f"deadline_s is {given_s!r}; give seconds from now, up to {_MAX_DEADLINE_S:g}"
            )

    @property
    def table(self) -> TableOptions:
        """What they say about columns."""
        return TableOptions(columns=self.columns, id_column=self.id_column)
